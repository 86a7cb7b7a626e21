import { setTimeout as delay } from 'node:timers/promises';

export type BackoffOptions = {
  /** Failures in a row, without progress, after which it is over. */
  readonly retries: number;
  readonly firstMs: number;
  readonly maxMs: number;
};

/** Pauses between attempts: doubling, never longer than `maxMs`, with a spread so that workers do not march in step. */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = options;
    this.#random = random;
  }

  /** There was progress: the next failure is the first one again. */
  reset(): void {
    this.#failures = 0;
  }

  /** Pauses, or throws `error` when there were too many failures in a row. */
  async pause(error: unknown, signal: AbortSignal, retries: number = this.#options.retries): Promise<void> {
    if (this.#failures >= Math.min(retries, this.#options.retries)) throw error;
    const fullMs = Math.min(this.#options.maxMs, this.#options.firstMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    await delay(fullMs * (0.5 + this.#random() / 2), undefined, { signal });
  }
}
