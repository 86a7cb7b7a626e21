import type { Digest } from '../../schemas/oci/digest.ts';

type Waiter = { readonly resolve: () => void; readonly reject: (reason: unknown) => void };

/**
 * Who waits for which content. A waiter is a process blocked in open(2), so there are at most as many as
 * there are requests in flight in the file system driver.
 */
export class Arrivals {
  readonly #waiters = new Map<Digest, Set<Waiter>>();
  readonly #listeners = new Set<(digest: Digest) => void>();

  /** Contents that somebody waits for now. */
  get waitedFor(): number {
    return this.#waiters.size;
  }

  isWaitedFor(digest: Digest): boolean {
    return this.#waiters.has(digest);
  }

  /** Settles with the next {@link announce} of `digest`; rejects with the signal's reason when that aborts. */
  wait(digest: Digest, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) {
        reject(signal.reason);
        return;
      }
      const set = this.#waiters.get(digest) ?? new Set<Waiter>();
      this.#waiters.set(digest, set);
      const leave = (): void => {
        signal.removeEventListener('abort', abort);
        set.delete(waiter);
        if (set.size === 0 && this.#waiters.get(digest) === set) this.#waiters.delete(digest);
      };
      const waiter: Waiter = {
        resolve: () => {
          leave();
          resolve();
        },
        reject: (reason) => {
          leave();
          reject(reason);
        },
      };
      const abort = (): void => waiter.reject(signal.reason);
      signal.addEventListener('abort', abort, { once: true });
      set.add(waiter);
    });
  }

  /** `digest` is complete and visible: wakes its waiters and tells the listeners. */
  announce(digest: Digest): void {
    for (const waiter of [...(this.#waiters.get(digest) ?? [])]) waiter.resolve();
    for (const listener of this.#listeners) listener(digest);
  }

  /** @returns a function that ends the subscription. */
  listen(listener: (digest: Digest) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Rejects everybody; nobody is left waiting for a store that is going away. */
  close(reason: unknown): void {
    for (const set of [...this.#waiters.values()]) for (const waiter of [...set]) waiter.reject(reason);
    this.#listeners.clear();
  }
}
