import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { type ChainId, chainIds } from '../../schemas/oci/chain-id.ts';
import { type Digest, digestHex } from '../../schemas/oci/digest.ts';
import {
  type Descriptor,
  type Manifest,
  parseImageConfig,
  parseIndex,
  parseManifest,
} from '../../schemas/oci/types.ts';

/** What an OCI image layout on the disk says of its images. Single manifests only, no index of platforms. */

function blob(layout: string, digest: Digest): Promise<Buffer> {
  return readFile(join(layout, 'blobs', 'sha256', digestHex(digest)));
}

async function manifestOf(layout: string, tag: string): Promise<Manifest> {
  const index = parseIndex(await readFile(join(layout, 'index.json')));
  const entry = index.manifests.find((manifest) => manifest.annotations?.[ANNOTATION.refName] === tag);
  if (entry === undefined) throw new Error(`${layout} has no image ${tag}`);
  return parseManifest(await blob(layout, entry.digest));
}

/** The layers of an image, lowest first. */
export async function layoutLayers(layout: string, tag: string): Promise<readonly Descriptor[]> {
  return (await manifestOf(layout, tag)).layers;
}

/** The chainIDs of an image, from the lowest layer up. */
export async function layoutChainIds(layout: string, tag: string): Promise<ChainId[]> {
  const { config } = await manifestOf(layout, tag);
  return chainIds(parseImageConfig(await blob(layout, config.digest)).rootfs.diff_ids);
}
