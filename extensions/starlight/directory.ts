import type { Digest } from '../../schemas/oci/digest.ts';

/**
 * The directory of converted images, as ingest, delta and report need it. It is a cache of what registries
 * hold, except for the traces, which exist nowhere else. Implementations: server/directory; the contract
 * that they pass: conformance/directory.
 */
export interface Directory {
  /**
   * Those of `digests` that are known from images of this registry, in no order. What another registry has shown is
   * no proof of what this one has.
   */
  layers(registry: string, digests: readonly Digest[], signal: AbortSignal): Promise<readonly LayerRecord[]>;

  /** The image of this manifest. A miss is undefined. */
  image(manifest: Digest, signal: AbortSignal): Promise<ImageRecord | undefined>;

  /** As `image`, without the bytes, of an image that some repository of this registry was seen to hold. */
  summary(registry: string, manifest: Digest, signal: AbortSignal): Promise<ImageSummary | undefined>;

  /** True when the image is known and was seen in this repository. */
  holds(repository: RepositoryKey, manifest: Digest, signal: AbortSignal): Promise<boolean>;

  /** True when `tag` was last seen to name `root`, an index or a single image. */
  tagged(repository: RepositoryKey, tag: string, root: Digest, signal: AbortSignal): Promise<boolean>;

  /** The names of a registry's repositories that something was ingested from; at most MAX_REPOSITORIES. */
  repositories(registry: string, signal: AbortSignal): Promise<readonly string[]>;

  /**
   * The version of an image that a new one follows: what the tag named last for that platform, else the
   * image of that platform that came last into the repository; never `except` itself. With `traced` only images
   * are looked at of which something was reported or inherited.
   */
  predecessor(question: PredecessorQuestion, signal: AbortSignal): Promise<Digest | undefined>;

  /**
   * Writes an ingest in one transaction: all of it or nothing. Idempotent, and safe when several replicas
   * write the same at once. What is known already stays as it is, its traces above all; inherited ranks go
   * only to images that are new. Tags move to the given images.
   * @returns the manifests that were new.
   */
  record(ingest: IngestRecord, signal: AbortSignal): Promise<readonly Digest[]>;

  /** What was opened of an image; an image without traces has version 0 and no ranks. */
  ranks(manifest: Digest, signal: AbortSignal): Promise<RankRecord>;

  /**
   * Adds to the ranks of an image, row by row of path, in one transaction.
   * @returns the new version, or undefined when the image is unknown in this repository.
   * @throws {DirectoryError} of kind `too-many-ranks` when the image's ranks would exceed MAX_RANKS.
   */
  addRanks(
    repository: RepositoryKey,
    manifest: Digest,
    added: readonly RankRow[],
    signal: AbortSignal,
  ): Promise<number | undefined>;

  /** Notes that these images were asked for together. Unknown images make it a no-op, as do fewer than two. */
  noteGroup(manifests: readonly Digest[], signal: AbortSignal): Promise<void>;

  /** The groups that hold this image, the most often asked for first; at most `MAX_GROUPS`. */
  groups(manifest: Digest, signal: AbortSignal): Promise<readonly ImageGroup[]>;

  /** Resolves when the database answers. */
  ping(signal: AbortSignal): Promise<void>;

  close(): Promise<void>;
}

/** Paths that the ranks of one image may hold. */
export const MAX_RANKS = 262_144;
/** Repositories that are listed. */
export const MAX_REPOSITORIES = 10_000;
/** Groups that are listed for one image. */
export const MAX_GROUPS = 64;

/** `registry` is the upstream's name in the configuration, the embedded registry's is empty. */
export interface RepositoryKey {
  readonly registry: string;
  readonly name: string;
}

/** A JSON document with the bytes that its digest covers. */
export interface RawDocument {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** zstd-compressed bytes, with the size that they decompress to. */
export interface PackedToc {
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
}

export interface LayerKey {
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly sizeBytes: number;
}

/** `toc`: encodeLayerToc(), compressed. */
export interface LayerRecord extends LayerKey {
  /** Of an eStargz layer: the digest of its own table of contents, found to agree with its tar. */
  readonly estargzTocDigest?: Digest;
  readonly toc: PackedToc;
}

/** `toc`: encodeImageToc() of all layers, compressed; `tocBound`: whether the manifest names its digest. */
export interface ImageRecord {
  readonly manifest: RawDocument;
  readonly config: RawDocument;
  readonly platform: string;
  readonly tocDigest: Digest;
  readonly tocBound: boolean;
  readonly toc: PackedToc;
  /** encodeShown() of the merged layers, compressed. */
  readonly shown: PackedToc;
  /** encodeStartOrder() of what it opens first; undefined where that is not known. */
  readonly startOrder?: Uint8Array;
  /** The lowest first. */
  readonly layers: readonly LayerKey[];
}

/** How often a file was opened first in a trace, and the sum of the places it had there (0 is the first). */
export interface RankRow {
  /** Raw path bytes, as a ToC has them. */
  readonly path: Uint8Array;
  /** The content's row in the tree of the image, and in its table of shown contents. */
  readonly content: number;
  readonly rankSum: number;
  readonly hits: number;
}

export interface RankRecord {
  readonly version: number;
  readonly ranks: readonly RankRow[];
}

export interface PredecessorQuestion {
  readonly repository: RepositoryKey;
  readonly tag?: string;
  readonly platform: string;
  readonly except: Digest;
  readonly traced?: boolean;
}

export interface IngestRecord {
  readonly repository: RepositoryKey;
  readonly tag?: string;
  readonly index?: RawDocument;
  /** Layers that images name and that the directory may not know yet. */
  readonly layers: readonly LayerRecord[];
  /** Images that the directory may not know yet. */
  readonly images: readonly { readonly image: ImageRecord; readonly inherited: readonly RankRow[] }[];
  /** Images that the directory was seen to know: only that the repository holds them, and the tag, is written. */
  readonly known: readonly ImageSummary[];
}

/** What to call an image that is known. */
export interface ImageSummary {
  readonly manifestDigest: Digest;
  readonly platform: string;
  readonly tocDigest: Digest;
}

export interface ImageGroup {
  readonly manifests: readonly Digest[];
  readonly requests: number;
}

export type DirectoryFault =
  | { readonly kind: 'unavailable' }
  | { readonly kind: 'corrupt'; readonly what: string }
  | { readonly kind: 'too-many-ranks'; readonly limit: number };

/** The directory cannot answer. `unavailable` is worth another try later. */
export class DirectoryError extends Error {
  readonly fault: DirectoryFault;

  constructor(fault: DirectoryFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DirectoryError';
    this.fault = fault;
  }
}
