import { setImmediate as nextTurn } from 'node:timers/promises';

/** How long work goes on in one turn of the event loop. */
const TURN_LIMIT_MS = 10;

/**
 * Breaks up work that never waits by itself, so that everybody else (a process in open(2) above all) has a turn
 * in between.
 */
export class Turns {
  readonly #nowMs: () => number;
  #beganMs: number;

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#beganMs = nowMs();
  }

  /** Whether it is time to call {@link next}. */
  get isOver(): boolean {
    return this.#nowMs() - this.#beganMs >= TURN_LIMIT_MS;
  }

  /** Fulfils in the next turn. */
  async next(): Promise<void> {
    await nextTurn();
    this.#beganMs = this.#nowMs();
  }
}
