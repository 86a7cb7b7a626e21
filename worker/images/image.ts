import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { Digest } from '../../schemas/oci/digest.ts';

/** A layer of an image, lowest first in {@link Image.layers}. */
export type ImageLayer = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly diffId: Digest;
  readonly chainId: ChainId;
  /** What it adds uncompressed: bytes of its contents, and its entries. */
  readonly contentBytes: number;
  readonly entries: number;
};

/** An image whose metadata is here and was verified. */
export type Image = {
  readonly manifestDigest: Digest;
  /** Of the index that the tag names, where it names one. */
  readonly indexDigest?: Digest;
  readonly configDigest: Digest;
  readonly tocDigest: Digest;
  /** Registry host and repository path it was last pulled by: where a missing content is asked for. */
  readonly host: string;
  readonly repository: string;
  /** `os/architecture[/variant]`. */
  readonly platform: string;
  readonly layers: readonly ImageLayer[];
};

/** `complete`: every content of the merged tree is in the store. */
export type ImageState = 'pulling' | 'complete';

export type ImageRecord = Image & {
  readonly state: ImageState;
  /** The last failure of its download, gone with the next success. */
  readonly error: string | undefined;
  /** Unique contents of the merged tree and their bytes. */
  readonly contentsTotal: number;
  readonly bytesTotal: number;
  /** When it was last pulled, the base of another version's pull, or set free by its last snapshot; ms since 1970. */
  readonly usedMs: number;
};

/** That containerd knows (or is about to know) an image by a name. */
export type ImageName = {
  readonly namespace: string;
  readonly reference: string;
  readonly manifestDigest: Digest;
  /** False until containerd has it; taken up again at the next start. */
  readonly registered: boolean;
};
