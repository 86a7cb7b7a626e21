import type { Digest } from '../../schemas/oci/digest.ts';
import type { ContentStore } from './content-store.ts';

export type SweepResult = {
  readonly kept: number;
  readonly removed: number;
  /** On the disk. */
  readonly freedBytes: number;
};

/**
 * Removes every content that `isReferenced` does not know. The question is asked and the file removed in one
 * turn of the event loop, so an image registered in the middle of a sweep keeps its contents as long as
 * `isReferenced` knows it from that moment on (and the pull looks into the store only after it registered).
 */
export async function sweep(
  store: ContentStore,
  isReferenced: (digest: Digest) => boolean,
  signal: AbortSignal,
): Promise<SweepResult> {
  let kept = 0;
  let removed = 0;
  let freedBytes = 0;
  for await (const digest of store.list(signal)) {
    if (isReferenced(digest)) {
      kept += 1;
    } else {
      freedBytes += store.delete(digest);
      removed += 1;
    }
  }
  return { kept, removed, freedBytes };
}
