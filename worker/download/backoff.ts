import { setTimeout as delay } from 'node:timers/promises';
import { type BackoffBounds, backoffDelayMs } from '../../schemas/concurrency/backoff-delay.ts';

export type BackoffOptions = BackoffBounds & {
  /** Failures in a row, without progress, after which it is over. */
  readonly retries: number;
};

/** Pauses between attempts ({@link backoffDelayMs}), as long as there is progress now and then. */
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
    const delayMs = backoffDelayMs(this.#failures, this.#options, this.#random());
    this.#failures += 1;
    await delay(delayMs, undefined, { signal });
  }
}
