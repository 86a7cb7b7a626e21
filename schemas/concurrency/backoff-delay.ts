export type BackoffBounds = {
  /** The first pause at its longest. */
  readonly firstMs: number;
  /** No pause is longer. */
  readonly maxMs: number;
};

/**
 * The pause after a failure that `failures` others in a row came before: doubling, with a spread, so that those who failed
 * together do not march in step. `random` is from 0 up to 1.
 */
export function backoffDelayMs(failures: number, { firstMs, maxMs }: BackoffBounds, random: number): number {
  const fullMs = Math.min(maxMs, firstMs * 2 ** Math.min(failures, 30));
  return fullMs * (0.5 + random / 2);
}
