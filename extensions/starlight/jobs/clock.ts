import { setTimeout as sleep } from 'node:timers/promises';

/** Time, as whoever waits needs it; tests bring their own. */
export interface Clock {
  /** Since 1970. */
  nowMs(): number;
  /** @throws the signal's reason. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  async sleep(ms, signal) {
    // Without a handle of its own: waiting keeps no process alive.
    await sleep(ms, undefined, { signal, ref: false }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
  },
};
