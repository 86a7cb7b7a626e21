import { createHash } from 'node:crypto';
import {
  createReadStream,
  linkSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import { type Digest, digestHex, digestOf, isDigest } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { hostPlatform } from '../../../schemas/oci/platform.ts';
import type { Descriptor } from '../../../schemas/oci/types.ts';

/**
 * Writes the OCI layout of both versions from what build.sh packed: WORK/<version>/layers names directories
 * with layer.tar.gz and layer.json, WORK/<version>/version holds redis's. Prints one line of JSON.
 */

const VERSIONS = { old: '2026-09-01T00:00:00Z', new: '2026-11-01T00:00:00Z' } as const;
/** What the official image's Dockerfile says, but for its entry script. */
const CONFIG = {
  Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  Entrypoint: ['redis-server'],
  Cmd: ['--protected-mode', 'no', '--save', ''],
  WorkingDir: '/data',
  ExposedPorts: { '6379/tcp': {} },
};
const HISTORY = ['ENTRYPOINT ["redis-server"]', 'CMD ["--protected-mode" "no" "--save" ""]', 'WORKDIR /data'];
const LayerFile = Type.Object({ createdBy: Type.String(), diffId: Type.String() });

type Layer = { readonly createdBy: string; readonly diffId: Digest; readonly descriptor: Descriptor };

async function digestOfFile(path: string): Promise<Digest> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return `sha256:${hash.digest('hex')}` as Digest; // well-formed as it stands
}

async function addLayer(blobs: string, directory: string): Promise<Layer> {
  const { createdBy, diffId } = Value.Decode(
    LayerFile,
    JSON.parse(readFileSync(join(directory, 'layer.json'), 'utf8')),
  );
  if (!isDigest(diffId)) throw new Error(`no digest in ${directory}/layer.json`);
  const path = join(directory, 'layer.tar.gz');
  const digest = await digestOfFile(path);
  const blob = join(blobs, digestHex(digest));
  rmSync(blob, { force: true });
  linkSync(path, blob);
  return {
    createdBy,
    diffId,
    descriptor: { mediaType: MEDIA_TYPE.ociLayerGzip, digest, size: statSync(path).size },
  };
}

async function addImage(work: string, blobs: string, version: keyof typeof VERSIONS) {
  const put = (mediaType: string, value: unknown): Descriptor => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    writeFileSync(join(blobs, digestHex(digest)), bytes);
    return { mediaType, digest, size: bytes.byteLength };
  };
  const layers: Layer[] = [];
  for (const directory of readFileSync(join(work, version, 'layers'), 'utf8')
    .trim()
    .split('\n')) {
    layers.push(await addLayer(blobs, directory));
  }
  const created = VERSIONS[version];
  const config = put(MEDIA_TYPE.ociConfig, {
    created,
    ...hostPlatform(),
    config: CONFIG,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: [
      ...layers.map((layer) => ({ created, created_by: layer.createdBy })),
      ...HISTORY.map((line) => ({ created, created_by: line, empty_layer: true })),
    ],
  });
  const manifest = put(MEDIA_TYPE.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config,
    layers: layers.map((layer) => layer.descriptor),
  });
  const redis = readFileSync(join(work, version, 'version'), 'utf8').trim();
  const sizeBytes = layers.reduce((sum, layer) => sum + layer.descriptor.size, 0);
  return { manifest, version: redis, layers: layers.length, sizeBytes };
}

const [work] = process.argv.slice(2);
if (work === undefined) throw new Error('usage: layout.ts WORK');
const layout = join(work, 'layout');
const blobs = join(layout, 'blobs/sha256');
rmSync(layout, { recursive: true, force: true });
mkdirSync(blobs, { recursive: true });
const old = await addImage(work, blobs, 'old');
const fresh = await addImage(work, blobs, 'new');
const manifests = Object.entries({ old, new: fresh }).map(([tag, { manifest }]) => ({
  ...manifest,
  annotations: { [ANNOTATION.refName]: tag },
}));
writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
console.log(JSON.stringify({ layout, runnable: !work.includes('unpack-'), old, new: fresh }));
