import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 50;

/** Asks until there is an answer. @throws {Error} with what `missing` says when there is none in time. */
export async function until<T>(
  ask: () => Promise<T | undefined>,
  missing: () => Promise<string> | string,
  limitMs = 90_000,
): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(await missing());
    await delay(POLL_MS);
  }
}
