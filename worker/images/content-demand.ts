import type { Digest } from '../../schemas/oci/digest.ts';
import type { Image } from './image.ts';

/** Whoever can bring a content of an image that a process waits for: the download. */
export interface ContentDemand {
  /**
   * Fulfils once the content is in the store. Rejects when `signal` aborts or when waiting is useless.
   */
  want(image: Image, digest: Digest, signal: AbortSignal): Promise<void>;
}

/** Hears of the first open of each file of a mounted image; see worker/trace. */
export interface TraceSink {
  /** Begins a trace of an image that has just been mounted; undefined when none is wanted. */
  begin(image: Image): ((path: Uint8Array) => void) | undefined;
}
