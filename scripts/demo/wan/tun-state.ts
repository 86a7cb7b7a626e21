/**
 * What the thread that asks and the thread that carries packets share: one SharedArrayBuffer of float64 cells.
 * The asker writes the first four, the carrier the others; each cell has one writer, so no locks.
 */
export const CELL = {
  stop: 0,
  cut: 1,
  delayMs: 2,
  rateBytesPerMs: 3,
  queueBytes: 4,
  /** Counters: packets, bytes, drops of `down`, then of `up`. */
  counters: 5,
} as const;

export const COUNTERS_PER_DIRECTION = 3;
export const STATE_BYTES = (CELL.counters + 2 * COUNTERS_PER_DIRECTION) * 8;

/** What the worker thread is started with. */
export type TunWorkerData = {
  readonly state: SharedArrayBuffer;
  /** Open TUN descriptors: the cloud's and the edge's. */
  readonly cloudFd: number;
  readonly edgeFd: number;
};
