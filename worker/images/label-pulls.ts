import type { Logger } from 'pino';
import { whenAborted } from '../../schemas/concurrency/when-aborted.ts';
import { type Digest, isDigest } from '../../schemas/oci/digest.ts';
import { InvalidReferenceError, parseReference } from '../../schemas/oci/reference.ts';
import type { Platform } from '../../schemas/oci/types.ts';
import type { Labels } from '../snapshotter/snapshot.ts';
import { isStoreFault } from '../store/store-error.ts';

/** Labels that containerd's CRI puts on the snapshots of an image that it pulls (pkg/snapshotters/annotations.go). */
export const CRI_LABEL = {
  imageRef: 'containerd.io/snapshot/cri.image-ref',
  manifestDigest: 'containerd.io/snapshot/cri.manifest-digest',
} as const;

/** Begins a download by the manifest's digest; fulfils once its metadata is verified and kept. */
export interface PullStarter {
  start(order: {
    readonly host: string;
    readonly repository: string;
    readonly tag: undefined;
    readonly digest: Digest;
    readonly platform: Platform;
    readonly from: readonly string[];
  }): Promise<unknown>;
}

export type LabelPullsDeps = {
  readonly downloads: PullStarter;
  readonly platform: Platform;
  readonly nowMs: () => number;
  readonly log: Logger;
};

/** How long a kubelet's pull waits for the metadata before the image is pulled in the ordinary way. */
const METADATA_LIMIT_MS = 15_000;
/** An image that could not be had this way is not asked for again, layer by layer, for this long. */
const FORGET_AFTER_MS = 60_000;
const MAX_REFUSED = 1024;

/**
 * Pulls that nobody asked the daemon for: kubelet, crictl and nerdctl pull through containerd, which tells the
 * snapshotter by labels which image a layer belongs to. What cannot be had from the proxy (an image that is not
 * converted, a proxy that is away) is said in the log, and containerd unpacks it in the ordinary way.
 */
export class LabelPulls {
  readonly #deps: LabelPullsDeps;
  readonly #refused = new Map<Digest, number>();

  constructor(deps: LabelPullsDeps) {
    this.#deps = deps;
  }

  /**
   * @returns true once the metadata of the image that `labels` name is here.
   * @throws the signal's reason; {@link StoreError} `quota-exceeded`: then containerd's pull fails with that.
   */
  async begin(labels: Labels, signal: AbortSignal): Promise<boolean> {
    const wish = wishOf(labels);
    if (wish === undefined || this.#isRefused(wish.digest)) return false;
    const { downloads, platform, log } = this.#deps;
    const limit = AbortSignal.timeout(METADATA_LIMIT_MS);
    try {
      const started = downloads.start({ ...wish, tag: undefined, platform, from: [] });
      started.catch(() => undefined); // told below, or too late to matter
      await Promise.race([started, whenAborted(AbortSignal.any([signal, limit]))]);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      // Unpacked in the ordinary way it would take up as much, and no quota would see it.
      if (isStoreFault(error, 'quota-exceeded')) throw error;
      this.#refuse(wish.digest);
      log.warn(
        { err: error, ...wish },
        'not to be had as a delta bundle: containerd pulls it in the ordinary way',
      );
      return false;
    }
  }

  #isRefused(digest: Digest): boolean {
    const until = this.#refused.get(digest);
    if (until === undefined) return false;
    if (until > this.#deps.nowMs()) return true;
    this.#refused.delete(digest);
    return false;
  }

  #refuse(digest: Digest): void {
    const [oldest] = this.#refused.keys();
    if (this.#refused.size >= MAX_REFUSED && oldest !== undefined) this.#refused.delete(oldest);
    this.#refused.set(digest, this.#deps.nowMs() + FORGET_AFTER_MS);
  }
}

function wishOf(labels: Labels): { host: string; repository: string; digest: Digest } | undefined {
  const text = labels[CRI_LABEL.imageRef];
  const digest = labels[CRI_LABEL.manifestDigest];
  if (text === undefined || !isDigest(digest)) return undefined;
  try {
    const { host, name } = parseReference(text);
    return host === '' ? undefined : { host, repository: name, digest };
  } catch (error) {
    if (error instanceof InvalidReferenceError) return undefined; // containerd's affair, not ours
    throw error;
  }
}
