import type { Digest } from '../../schemas/oci/digest.ts';
import { decodeImageToc } from '../../schemas/toc/image-toc.ts';
import type { LayerToc } from '../../schemas/toc/layer-toc.ts';
import { mergeContents, mergeLayers, type TreeContents } from '../../schemas/toc/merge.ts';
import type { Tree } from '../../schemas/toc/tree.ts';
import { type Directory, DirectoryError, type ImageRecord } from './directory.ts';
import { unpack } from './packed.ts';

/** An image of the directory, unpacked. */
export class LoadedImage {
  readonly record: ImageRecord;
  /** encodeImageToc() of the layers: what `record.tocDigest` is the digest of. */
  readonly tocBytes: Uint8Array;
  /** The lowest first. */
  readonly layers: readonly LayerToc[];
  #tree: Tree | undefined;
  #contents: TreeContents | undefined;

  constructor(record: ImageRecord, tocBytes: Uint8Array, layers: readonly LayerToc[]) {
    this.record = record;
    this.tocBytes = tocBytes;
    this.layers = layers;
  }

  /** The merged image, made when first asked for. */
  get tree(): Tree {
    this.#tree ??= mergeLayers(this.layers);
    return this.#tree;
  }

  /** The contents that the merged image shows. */
  get contents(): TreeContents {
    this.#contents ??= this.#tree ?? mergeContents(this.layers);
    return this.#contents;
  }

  /** Roughly what it takes in memory, its tree included: columns per row and content, and the paths twice. */
  get sizeBytes(): number {
    return this.layers.reduce(
      (sum, layer) => sum + layer.rowCount * 150 + layer.contentCount * 100 + layer.path.bytes.length * 2,
      this.tocBytes.length,
    );
  }
}

/** Opens images, and keeps those used last within a bound. An image never changes, so nothing goes stale. */
export class ImageStore {
  readonly #directory: Directory;
  readonly #maxBytes: number;
  /** In the order of last use. */
  readonly #kept = new Map<Digest, LoadedImage>();
  #sizeBytes = 0;

  constructor(directory: Directory, maxBytes: number) {
    this.#directory = directory;
    this.#maxBytes = maxBytes;
  }

  /** The image of a manifest; a miss is undefined. */
  async image(manifest: Digest, signal: AbortSignal): Promise<LoadedImage | undefined> {
    const kept = this.#kept.get(manifest);
    if (kept !== undefined) return this.#use(manifest, kept);
    const record = await this.#directory.image(manifest, signal);
    return record === undefined ? undefined : await this.open(record);
  }

  /** @throws {DirectoryError} of kind `corrupt` when the record's table of contents is not one. */
  async open(record: ImageRecord): Promise<LoadedImage> {
    const { digest } = record.manifest;
    const kept = this.#kept.get(digest);
    if (kept !== undefined) return this.#use(digest, kept);
    const bytes = await unpack(record.toc);
    let layers: LayerToc[];
    try {
      layers = decodeImageToc(bytes);
    } catch (cause) {
      throw new DirectoryError(
        { kind: 'corrupt', what: 'toc' },
        `the directory holds a damaged table of contents for ${digest}`,
        { cause },
      );
    }
    return this.#use(digest, new LoadedImage(record, bytes, layers));
  }

  #use(digest: Digest, image: LoadedImage): LoadedImage {
    const before = this.#kept.get(digest);
    if (before !== undefined) this.#drop(digest, before);
    if (image.sizeBytes > this.#maxBytes) return image;
    this.#kept.set(digest, image);
    this.#sizeBytes += image.sizeBytes;
    for (const [oldest, old] of this.#kept) {
      if (this.#sizeBytes <= this.#maxBytes) break;
      this.#drop(oldest, old);
    }
    return image;
  }

  #drop(digest: Digest, image: LoadedImage): void {
    this.#kept.delete(digest);
    this.#sizeBytes -= image.sizeBytes;
  }
}
