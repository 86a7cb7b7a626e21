import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { type Digest, digestHex, digestOf } from '../../schemas/oci/digest.ts';
import { type LayerCompression, MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { formatPlatform } from '../../schemas/oci/platform.ts';
import type { Descriptor, Platform } from '../../schemas/oci/types.ts';
import { type TarEntry, tarBytes } from './tar.ts';

/** A layer of an image to be made: its entries, or the bytes of its tar where entries cannot say it. */
export type LayerSource =
  | readonly TarEntry[]
  | { readonly entries: readonly TarEntry[]; readonly compression: LayerCompression }
  | { readonly tar: Uint8Array; readonly compression?: LayerCompression | undefined };

/**
 * One image. Several with the same tag (and different platforms) become one index under that tag.
 * `config` is merged over the config's `config` object (Entrypoint, Env, …).
 */
export type ImageSource = {
  readonly tag: string;
  readonly layers: readonly LayerSource[];
  readonly config?: Readonly<Record<string, unknown>>;
  readonly platform?: Platform;
  /** Docker's media types instead of OCI's (skopeo does not read such an image from a layout). */
  readonly docker?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
};

export type MadeLayer = {
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  readonly tar: Buffer;
};

export type MadeImage = {
  readonly tag: string;
  readonly platform: Platform;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly MadeLayer[];
};

export type MadeLayout = {
  readonly path: string;
  /** In the order of the sources. */
  readonly images: readonly MadeImage[];
  /** What each tag names: a manifest, or the index of several platforms. */
  readonly tags: ReadonlyMap<string, Descriptor>;
};

const CREATED = '2026-01-01T00:00:00Z';
const LAYER_TYPE = {
  oci: { none: MEDIA_TYPE.ociLayer, gzip: MEDIA_TYPE.ociLayerGzip, zstd: MEDIA_TYPE.ociLayerZstd },
  docker: {
    none: MEDIA_TYPE.dockerLayer,
    gzip: MEDIA_TYPE.dockerLayerGzip,
    zstd: MEDIA_TYPE.dockerLayerZstd,
  },
} as const;

function compress(tar: Buffer, compression: LayerCompression): Buffer {
  switch (compression) {
    case 'none':
      return tar;
    case 'gzip':
      return gzipSync(tar, { level: 6 });
    case 'zstd':
      return zstdCompressSync(tar);
    default:
      return compression satisfies never;
  }
}

class Layout {
  readonly path: string;
  readonly #blobs: string;

  constructor(path: string) {
    this.path = path;
    this.#blobs = join(path, 'blobs/sha256');
    mkdirSync(this.#blobs, { recursive: true });
    writeFileSync(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  }

  put(mediaType: string, content: Uint8Array): Descriptor {
    const digest = digestOf(content);
    writeFileSync(join(this.#blobs, digestHex(digest)), content);
    return { mediaType, digest, size: content.byteLength };
  }

  putJson(mediaType: string, value: unknown): Descriptor {
    return this.put(mediaType, Buffer.from(JSON.stringify(value)));
  }
}

function isEntries(source: LayerSource): source is readonly TarEntry[] {
  return Array.isArray(source);
}

function makeLayer(layout: Layout, source: LayerSource, docker: boolean): MadeLayer {
  const spec: Exclude<LayerSource, readonly TarEntry[]> = isEntries(source)
    ? { tar: tarBytes(source) }
    : source;
  const compression = spec.compression ?? 'gzip';
  const tar = 'tar' in spec ? Buffer.from(spec.tar) : tarBytes(spec.entries);
  const type = LAYER_TYPE[docker ? 'docker' : 'oci'][compression];
  return { descriptor: layout.put(type, compress(tar, compression)), diffId: digestOf(tar), tar };
}

function makeImage(layout: Layout, source: ImageSource): MadeImage {
  const docker = source.docker ?? false;
  const platform = source.platform ?? { os: 'linux', architecture: 'amd64' };
  const layers = source.layers.map((layer) => makeLayer(layout, layer, docker));
  const config = layout.putJson(docker ? MEDIA_TYPE.dockerConfig : MEDIA_TYPE.ociConfig, {
    created: CREATED,
    ...platform,
    config: { Env: ['PATH=/usr/sbin:/usr/bin:/sbin:/bin'], ...source.config },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, index) => ({ created: CREATED, created_by: `layer ${index}` })),
  });
  const mediaType = docker ? MEDIA_TYPE.dockerManifest : MEDIA_TYPE.ociManifest;
  const manifest = layout.putJson(mediaType, {
    schemaVersion: 2,
    mediaType,
    config,
    layers: layers.map((layer) => layer.descriptor),
    ...(source.annotations === undefined ? {} : { annotations: source.annotations }),
  });
  return { tag: source.tag, platform, manifest, config, layers };
}

/**
 * Writes an OCI image layout that skopeo, umoci and the product read, into `path` (made when missing; an
 * `index.json` there is replaced). Deterministic: the same sources give the same digests.
 *
 * @throws {RangeError} when a tag holds two images for one platform.
 * @example
 * makeLayout(dir, [{ tag: 'v1', layers: [[directory('bin'), file('bin/a', 'x')], [whiteout('bin/a')]] }])
 */
export function makeLayout(path: string, sources: readonly ImageSource[]): MadeLayout {
  const layout = new Layout(path);
  const images = sources.map((source) => makeImage(layout, source));
  const tags = new Map<string, Descriptor>();
  for (const [tag, members] of Map.groupBy(images, (image) => image.tag)) {
    if (new Set(members.map((image) => formatPlatform(image.platform))).size !== members.length) {
      throw new RangeError(`two images of one platform under the tag ${tag}`);
    }
    const [first] = members;
    if (first === undefined) continue;
    const docker = first.manifest.mediaType === MEDIA_TYPE.dockerManifest;
    const mediaType = docker ? MEDIA_TYPE.dockerList : MEDIA_TYPE.ociIndex;
    const manifests = members.map((image) => ({ ...image.manifest, platform: image.platform }));
    tags.set(
      tag,
      members.length === 1
        ? first.manifest
        : layout.putJson(mediaType, { schemaVersion: 2, mediaType, manifests }),
    );
  }
  const entries = [...tags].map(([tag, entry]) => ({ ...entry, annotations: { [ANNOTATION.refName]: tag } }));
  writeFileSync(join(path, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: entries }));
  return { path, images, tags };
}
