import { writeSeekableLayer } from '../../../schemas/layer/seekable-layer.ts';
import { scanLayer } from '../../../schemas/layer/scan-layer.ts';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { encodeImageToc } from '../../../schemas/toc/image-toc.ts';
import type { LayerToc } from '../../../schemas/toc/layer-toc.ts';
import { type TarEntry, tarBytes } from '../../support/tar.ts';

const SIGNAL = new AbortController().signal;

export interface MadeDocument {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Buffer;
}

/** A converted image in memory. */
export interface MadeImage {
  readonly manifest: MadeDocument;
  readonly blobs: readonly MadeDocument[];
  readonly layers: readonly LayerToc[];
  readonly tocDigest: Digest;
}

export interface MakeOptions {
  readonly architecture?: string;
  readonly command?: readonly string[];
  /** Further fields of the config's own config. */
  readonly process?: Readonly<Record<string, unknown>>;
  /** Instead of the true one; null leaves the annotation out. */
  readonly tocDigest?: string | null;
  readonly layerAnnotations?: Readonly<Record<string, string>>;
  /** Instead of the true ones. */
  readonly diffIds?: readonly Digest[];
}

export function document(mediaType: string, value: unknown): MadeDocument {
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value));
  return { mediaType, digest: digestOf(bytes), bytes };
}

async function seekable(entries: readonly TarEntry[]): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of writeSeekableLayer([tarBytes(entries)], SIGNAL)) parts.push(part);
  return Buffer.concat(parts);
}

/** Converts layers, given as their entries, the lowest first. */
export async function makeImage(
  layers: readonly (readonly TarEntry[])[],
  options: MakeOptions = {},
): Promise<MadeImage> {
  const blobs = await Promise.all(layers.map(seekable));
  const scanned = await Promise.all(blobs.map((blob) => scanLayer([blob], SIGNAL)));
  const tocs = scanned.map(({ toc }) => toc);
  const tocDigest = digestOf(encodeImageToc(tocs));
  const config = document(MEDIA_TYPE.ociConfig, {
    os: 'linux',
    architecture: options.architecture ?? 'amd64',
    config: { Cmd: options.command ?? ['/bin/app'], ...options.process },
    rootfs: { type: 'layers', diff_ids: options.diffIds ?? scanned.map(({ diffId }) => diffId) },
  });
  const layerBlobs = blobs.map((blob) => document(MEDIA_TYPE.ociLayerGzip, blob));
  const descriptor = ({ mediaType, digest, bytes }: MadeDocument) => ({
    mediaType,
    digest,
    size: bytes.length,
  });
  const named = options.tocDigest === undefined ? tocDigest : options.tocDigest;
  const manifest = document(MEDIA_TYPE.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config: descriptor(config),
    layers: layerBlobs.map((blob) => ({
      ...descriptor(blob),
      ...(options.layerAnnotations === undefined ? {} : { annotations: options.layerAnnotations }),
    })),
    ...(named === null ? {} : { annotations: { [ANNOTATION.tocDigest]: named } }),
  });
  return { manifest, blobs: [config, ...layerBlobs], layers: tocs, tocDigest };
}

/** An index of images, by platform. */
export function makeIndex(
  images: readonly (readonly [architecture: string, image: MadeImage])[],
): MadeDocument {
  return document(MEDIA_TYPE.ociIndex, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociIndex,
    manifests: images.map(([architecture, { manifest }]) => ({
      mediaType: manifest.mediaType,
      digest: manifest.digest,
      size: manifest.bytes.length,
      platform: { os: architecture === 'unknown' ? 'unknown' : 'linux', architecture },
    })),
  });
}
