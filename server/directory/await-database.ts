import type { Clock } from '../../extensions/starlight/jobs/clock.ts';
import { backoffDelayMs } from '../../schemas/concurrency/backoff-delay.ts';
import { whenAborted } from '../../schemas/concurrency/when-aborted.ts';
import { isAway } from './postgres.ts';

const PAUSES = { firstMs: 250, maxMs: 5_000 };

export interface AwaitOptions {
  /** How long it is tried again; 0: not at all. */
  readonly limitMs: number;
  /** Monotonic. */
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Told once, when it is to be tried again, with why. */
  readonly onWait: (error: unknown) => void;
}

/**
 * Tries to open a database, again and again while its server is away ({@link isAway}): both are started together, and
 * the database takes longer. What trying again does not mend is thrown at once.
 *
 * @throws {DatabaseAwayError} when the time is over; what `open` throws; the signal's reason, without waiting for `open`.
 */
export async function awaitDatabase(
  open: () => Promise<void>,
  { limitMs, clock, random, onWait }: AwaitOptions,
  signal: AbortSignal,
): Promise<void> {
  const untilMs = clock.nowMs() + limitMs;
  const aborted = whenAborted(signal);
  aborted.catch(() => undefined); // raced with below; here for when nothing is
  for (let failures = 0; ; failures += 1) {
    try {
      return await Promise.race([open(), aborted]);
    } catch (error) {
      signal.throwIfAborted();
      if (limitMs === 0 || !isAway(error)) throw error;
      const leftMs = untilMs - clock.nowMs();
      if (leftMs <= 0) throw new DatabaseAwayError(limitMs, { cause: error });
      if (failures === 0) onWait(error);
      await clock.sleep(Math.min(leftMs, backoffDelayMs(failures, PAUSES, random())), signal);
    }
  }
}

/** It was waited for in vain. */
export class DatabaseAwayError extends Error {
  constructor(limitMs: number, options: ErrorOptions) {
    super(
      `waited ${limitMs / 1000} s for the directory database: start it, correct database.url, or raise database.waitLimitMs`,
      options,
    );
    this.name = 'DatabaseAwayError';
  }
}
