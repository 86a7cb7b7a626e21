import { DirectoryError } from '../directory.ts';
import type { Clock } from './clock.ts';
import type { KnownPush } from './intake.ts';
import { JobQueueFullError, MAX_REQUESTS } from './job-queue.ts';

/** Pushes that wait; what comes beyond is left to reconciliation. */
export const MAX_WAITING = 10_000;
const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 60_000;

export interface PushBacklogOptions {
  /** Puts them into the queue: when it resolves, they outlive this process. */
  readonly take: (pushes: readonly KnownPush[], signal: AbortSignal) => Promise<unknown>;
  readonly clock: Clock;
  /** Told when the queue cannot take them now; they are offered again. */
  readonly onDelay: (error: unknown) => void;
  /** Told of pushes that nothing will come of. */
  readonly onLost: (error: unknown, pushes: readonly KnownPush[]) => void;
}

/**
 * Pushes to the proxy itself on their way into the queue. Nobody tells of them a second time, as registries do whose
 * webhooks fail: they wait here, in memory, while the database is away or the queue is full.
 */
export class PushBacklog {
  readonly #options: PushBacklogOptions;
  /** By what they are about: of two pushes of a tag the last one counts. */
  readonly #waiting = new Map<string, KnownPush>();
  readonly #closing = new AbortController();
  #draining = false;

  constructor(options: PushBacklogOptions) {
    this.#options = options;
  }

  add(pushes: readonly KnownPush[]): void {
    for (const push of pushes) {
      const { registry, name, reference } = push;
      const key = JSON.stringify([registry, name, reference]);
      if (this.#waiting.size < MAX_WAITING || this.#waiting.has(key)) this.#waiting.set(key, push);
      else this.#options.onLost(new Error(`${MAX_WAITING} pushes are waiting already`), [push]);
    }
    if (!this.#draining) void this.#drain();
  }

  /** Those that still wait are lost. */
  close(): void {
    this.#closing.abort(new DOMException('the proxy is ending', 'AbortError'));
  }

  /** Does not throw. */
  async #drain(): Promise<void> {
    const { take, clock, onDelay, onLost } = this.#options;
    const { signal } = this.#closing;
    this.#draining = true;
    for (let failures = 0; this.#waiting.size > 0 && !signal.aborted; ) {
      const batch = [...this.#waiting].slice(0, MAX_REQUESTS);
      const pushes = batch.map(([, push]) => push);
      try {
        await take(pushes, signal);
        this.#forget(batch);
        failures = 0;
      } catch (error) {
        if (signal.aborted) break;
        if (mayPass(error)) {
          if (failures === 0) onDelay(error);
          const delayMs = Math.min(FIRST_DELAY_MS * 2 ** failures, MAX_DELAY_MS);
          failures += 1;
          await clock.sleep(delayMs, signal).catch(() => undefined); // ended by the signal, which is looked at
        } else {
          this.#forget(batch);
          onLost(error, pushes);
        }
      }
    }
    this.#draining = false;
  }

  #forget(batch: readonly (readonly [string, KnownPush])[]): void {
    // What was pushed anew meanwhile is still to be told.
    for (const [key, push] of batch) if (this.#waiting.get(key) === push) this.#waiting.delete(key);
  }
}

function mayPass(error: unknown): boolean {
  return (
    error instanceof JobQueueFullError ||
    (error instanceof DirectoryError && error.fault.kind === 'unavailable')
  );
}
