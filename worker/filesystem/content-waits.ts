import type { Digest } from '../../schemas/oci/digest.ts';
import type { ContentSource, MountStats } from './driver.ts';

/** How a wait for a content ended. All but `arrived` and `left` become EIO. */
export type WaitOutcome = 'arrived' | 'failed' | 'limit' | 'closed' | 'left';

interface Fill {
  readonly control: AbortController;
  readonly settled: Promise<'arrived' | 'failed'>;
  waiters: number;
}

/**
 * The processes that wait for contents: one call of `want()` per content with any number of waiters, each
 * with its own limit. The call is aborted when its last waiter has left.
 */
export class ContentWaits {
  readonly #contents: ContentSource;
  readonly #limitMs: number;
  readonly #onFault: (digest: Digest, error: unknown) => void;
  readonly #fills = new Map<Digest, Fill>();
  readonly #closing = new AbortController();
  #waiting = 0;
  #waited = 0;
  #failed = 0;

  /** @param limitMs 0 waits for ever. @param onFault hears of each rejection of `want()`, once. */
  constructor(
    contents: ContentSource,
    limitMs: number,
    onFault: (digest: Digest, error: unknown) => void = () => {},
  ) {
    this.#contents = contents;
    this.#limitMs = limitMs;
    this.#onFault = onFault;
  }

  /** Waits for one content; never rejects. `signal` is the waiter's own: it has gone away (`left`). */
  async wait(digest: Digest, signal: AbortSignal): Promise<WaitOutcome> {
    if (this.#closing.signal.aborted) return 'closed';
    if (signal.aborted) return 'left';
    this.#waiting++;
    this.#waited++;
    const fill = this.#join(digest);
    let timer: NodeJS.Timeout | undefined;
    const ended = Promise.withResolvers<WaitOutcome>();
    const onLeave = () => ended.resolve('left');
    const onClose = () => ended.resolve('closed');
    signal.addEventListener('abort', onLeave, { once: true });
    this.#closing.signal.addEventListener('abort', onClose, { once: true });
    if (this.#limitMs > 0) timer = setTimeout(() => ended.resolve('limit'), this.#limitMs);
    try {
      const outcome = await Promise.race([fill.settled, ended.promise]);
      if (outcome !== 'arrived' && outcome !== 'left') this.#failed++;
      return outcome;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onLeave);
      this.#closing.signal.removeEventListener('abort', onClose);
      this.#waiting--;
      this.#leave(digest, fill);
    }
  }

  stats(): MountStats {
    return { waiting: this.#waiting, waited: this.#waited, failed: this.#failed };
  }

  /** Ends every wait, present and future, as `closed`. */
  close(): void {
    this.#closing.abort();
  }

  #join(digest: Digest): Fill {
    const running = this.#fills.get(digest);
    if (running !== undefined) {
      running.waiters++;
      return running;
    }
    const control = new AbortController();
    const fill: Fill = { control, waiters: 1, settled: this.#fill(digest, control.signal) };
    this.#fills.set(digest, fill);
    return fill;
  }

  async #fill(digest: Digest, signal: AbortSignal): Promise<'arrived' | 'failed'> {
    try {
      await this.#contents.want(digest, signal);
      return 'arrived';
    } catch (error) {
      if (!signal.aborted) this.#onFault(digest, error);
      return 'failed';
    }
  }

  /** The last one out ends the fill; whoever comes later starts a new one, a failed fill included. */
  #leave(digest: Digest, fill: Fill): void {
    fill.waiters--;
    if (fill.waiters > 0) return;
    if (this.#fills.get(digest) === fill) this.#fills.delete(digest);
    fill.control.abort();
  }
}
