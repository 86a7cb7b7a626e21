import type { Digest } from '../../schemas/oci/digest.ts';
import { DIGEST_WORDS } from '../../schemas/toc/digest-index.ts';
import { decodeImageContents, decodeImageDigests, decodeImageToc } from '../../schemas/toc/image-toc.ts';
import type { LayerToc } from '../../schemas/toc/layer-toc.ts';
import { mergeLayers } from '../../schemas/toc/merge.ts';
import type { Tree } from '../../schemas/toc/tree.ts';
import { type Directory, DirectoryError, type ImageRecord } from './directory.ts';
import { contentWords, type HeldImage, type LayerContents, wordsOf } from './optimizer/image.ts';
import { decodeShown, type ShownContents } from './optimizer/shown.ts';
import { decodeStartOrder, type StartOrder } from './optimizer/start-order.ts';
import { unpack } from './packed.ts';

/** Bytes in memory per byte of a table, when all of an image is unpacked: measured on one of 84,000 files. */
const MEMORY_FACTOR = 8;

/**
 * An image of the directory, decompressed. Its parts are decoded when they are first asked for: a delta needs
 * no rows and no tree. What is asked for throws {DirectoryError} of kind `corrupt` where it is damaged.
 */
export class LoadedImage {
  readonly record: ImageRecord;
  /** encodeImageToc() of the layers: what `record.tocDigest` is the digest of. */
  readonly tocBytes: Uint8Array;
  readonly #shownBytes: Uint8Array;
  #layers: readonly LayerToc[] | undefined;
  #layerContents: readonly LayerContents[] | undefined;
  #tree: Tree | undefined;
  #shown: ShownContents | undefined;
  #start: StartOrder | undefined;

  constructor(record: ImageRecord, tocBytes: Uint8Array, shownBytes: Uint8Array) {
    this.record = record;
    this.tocBytes = tocBytes;
    this.#shownBytes = shownBytes;
  }

  /** The lowest first. */
  get layers(): readonly LayerToc[] {
    this.#layers ??= this.#sound(() => decodeImageToc(this.tocBytes));
    return this.#layers;
  }

  /** The merged image. */
  get tree(): Tree {
    this.#tree ??= this.#sound(() => mergeLayers(this.layers));
    return this.#tree;
  }

  /** What the layers store; the lowest first. */
  get layerContents(): readonly LayerContents[] {
    this.#layerContents ??= this.#layers ?? this.#sound(() => decodeImageContents(this.tocBytes));
    return this.#layerContents;
  }

  /** The contents that the merged image shows. */
  get shown(): ShownContents {
    this.#shown ??= this.#decodeShown(
      this.layerContents.reduce((sum, { contents }) => sum + contents.sizeBytes.length, 0),
    );
    return this.#shown;
  }

  /** What it opens first, as far as that was found out at ingest. */
  get start(): StartOrder {
    const { startOrder } = this.record;
    this.#start ??=
      startOrder === undefined
        ? new Uint32Array(0)
        : this.#sound(() => decodeStartOrder(startOrder, this.shown.content.length));
    return this.#start;
  }

  /** What of it matters to one who has it: decoded anew at each call, as there may be hundreds. */
  get held(): HeldImage {
    const decoded = this.#layerContents ?? this.#layers;
    const words =
      decoded === undefined
        ? contentWords(this.#sound(() => decodeImageDigests(this.tocBytes)))
        : wordsOf(decoded);
    const { content } = this.#shown ?? this.#decodeShown(words.length / DIGEST_WORDS);
    return { words, shown: content };
  }

  /** Roughly what it takes in memory, all of it decoded. */
  get sizeBytes(): number {
    return this.tocBytes.length * MEMORY_FACTOR;
  }

  #decodeShown(contentCount: number): ShownContents {
    return this.#sound(() => decodeShown(this.#shownBytes, contentCount));
  }

  #sound<T>(decode: () => T): T {
    try {
      return decode();
    } catch (cause) {
      throw new DirectoryError(
        { kind: 'corrupt', what: 'toc' },
        `the directory holds a damaged table of contents for ${this.record.manifest.digest}`,
        { cause },
      );
    }
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

  /** @throws {DirectoryError} of kind `corrupt` when the record does not decompress. */
  async open(record: ImageRecord): Promise<LoadedImage> {
    const { digest } = record.manifest;
    const kept = this.#kept.get(digest);
    if (kept !== undefined) return this.#use(digest, kept);
    const [bytes, shown] = await Promise.all([unpack(record.toc), unpack(record.shown)]);
    return this.#use(digest, new LoadedImage(record, bytes, shown));
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
