import { RegistryError } from '../registry/registry-error.ts';

export interface TurnstileOptions {
  /** So many may be inside at once. */
  readonly atOnce: number;
  /** So many are let in a second at most; 0 for no limit. */
  readonly perSecond: number;
  /** Whoever is not in after this long is sent away. */
  readonly waitLimitMs: number;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** More are not even let wait. */
const MAX_WAITING = 1024;

interface Waiter {
  readonly enter: () => void;
}

/**
 * Lets requests to an upstream in, first come, first served: only so many at once, and only so many a second. The
 * wait is bounded, in time and in number.
 */
export class Turnstile {
  readonly #options: TurnstileOptions;
  readonly #waiting: Waiter[] = [];
  #inside = 0;
  /** From when on the next may enter, by the rate. Nothing is saved up: a second of rest makes no burst. */
  #nextAtMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TurnstileOptions) {
    this.#options = options;
  }

  /**
   * Resolves to the function that lets the next in: to be called when the request is over, any number of times.
   * @throws {RegistryError} 'upstream-busy'; the signal's reason.
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#waiting.length > 0 || !this.#tryEnter()) await this.#wait(signal);
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside -= 1;
      this.#admit();
    };
  }

  #tryEnter(): boolean {
    const { atOnce, perSecond, nowMs } = this.#options;
    if (this.#inside >= atOnce) return false;
    if (perSecond > 0) {
      const now = nowMs();
      if (now < this.#nextAtMs) return false;
      this.#nextAtMs = now + 1000 / perSecond;
    }
    this.#inside += 1;
    return true;
  }

  /** Lets in whoever may; if the rate is what keeps the first one out, comes back for it. */
  #admit(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#waiting.length > 0 && this.#tryEnter()) this.#waiting.shift()?.enter();
    if (this.#waiting.length === 0 || this.#inside >= this.#options.atOnce) return;
    this.#timer = setTimeout(
      () => this.#admit(),
      Math.max(1, Math.ceil(this.#nextAtMs - this.#options.nowMs())),
    );
  }

  #wait(signal: AbortSignal): Promise<void> {
    const { waitLimitMs } = this.#options;
    const busy = () =>
      new RegistryError({
        kind: 'upstream-busy',
        retryAfterSeconds: Math.max(1, Math.ceil(waitLimitMs / 1000)),
      });
    if (this.#waiting.length >= MAX_WAITING) throw busy();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(limit);
        signal.removeEventListener('abort', abort);
      };
      const giveUp = (reason: unknown): void => {
        end();
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1); // in the queue until it enters
        if (this.#waiting.length === 0) clearTimeout(this.#timer);
        reject(reason);
      };
      const abort = (): void => giveUp(signal.reason);
      const waiter: Waiter = {
        enter: () => {
          end();
          resolve();
        },
      };
      const limit = setTimeout(() => giveUp(busy()), waitLimitMs);
      signal.addEventListener('abort', abort, { once: true });
      this.#waiting.push(waiter);
      this.#admit();
    });
  }
}
