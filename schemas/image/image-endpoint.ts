import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/types.ts';

/** A manifest or an index, as its digest covers it. */
export interface ManifestDocument {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

export type BlobStream = AsyncIterable<Uint8Array>;

/** Where an image is read: a repository, or an image layout directory. */
export interface ImageSource {
  /** For messages. */
  readonly name: string;
  /** What is named: the tag's or the digest's manifest or index; with `digest`, one below it. */
  manifest(signal: AbortSignal, digest?: Descriptor): Promise<ManifestDocument>;
  /**
   * The bytes of a blob. The stream fails with `digest-mismatch` before its end when they are not those of
   * the descriptor, and never gives more than its size.
   */
  blob(descriptor: Descriptor, signal: AbortSignal): Promise<BlobStream>;
  /** The manifests whose subject is `subject`, as far as the place knows them; by its API or the fallback tag. */
  referrers(subject: Digest, signal: AbortSignal): Promise<readonly Descriptor[]>;
}

/** How a blob that is sent can be had: anew for each attempt. */
export type OpenBlob = () => BlobStream;

export type PutResult = 'present' | 'mounted' | 'sent';

/** Where an image is written. */
export interface ImageSink {
  readonly name: string;
  /** Makes the blob present; reads it only when it is not there yet. */
  putBlob(descriptor: Descriptor, open: OpenBlob, signal: AbortSignal): Promise<PutResult>;
  /** Stores a manifest by digest. All that it names has been put before. */
  putManifest(manifest: ManifestDocument, signal: AbortSignal): Promise<void>;
  /** Stores a manifest whose `subject` is `subject` so that whoever asks for referrers finds it. */
  putReferrer(
    manifest: ManifestDocument,
    subject: Digest,
    artifactType: string,
    signal: AbortSignal,
  ): Promise<void>;
  /** Gives the image its name: the one step that makes it visible, hence the last. */
  publish(manifest: ManifestDocument, signal: AbortSignal): Promise<void>;
}

/** The repository that a source reads, for mounting blobs across repositories of one registry. */
export interface RepositoryPlace {
  readonly host: string;
  readonly repository: string;
}
