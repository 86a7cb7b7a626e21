export interface FairQueueLimits {
  readonly maxWaiting: number;
  readonly maxPerLane: number;
}

/** Runs one task at a time, the lanes taking turns: whoever fills one lane does not hold up the others. */
export class FairQueue {
  readonly #limits: FairQueueLimits;
  /** In the order of their turns. */
  readonly #lanes = new Map<string, (() => Promise<void>)[]>();
  #waiting = 0;
  #busy = false;

  constructor(limits: FairQueueLimits) {
    this.#limits = limits;
  }

  /** @returns undefined where the lane, or all together, is full. */
  run<T>(lane: string, task: () => Promise<T>): Promise<T> | undefined {
    const before = this.#lanes.get(lane);
    if (this.#waiting >= this.#limits.maxWaiting || (before?.length ?? 0) >= this.#limits.maxPerLane) {
      return undefined;
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const turn = () => task().then(resolve, reject);
    if (before === undefined) this.#lanes.set(lane, [turn]);
    else before.push(turn);
    this.#waiting += 1;
    void this.#work();
    return promise;
  }

  async #work(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    for (let next = this.#lanes.entries().next(); !next.done; next = this.#lanes.entries().next()) {
      const [lane, turns] = next.value;
      const turn = turns.shift();
      this.#lanes.delete(lane);
      if (turns.length > 0) this.#lanes.set(lane, turns); // to the end of the round
      this.#waiting -= 1;
      await turn?.();
    }
    this.#busy = false;
  }
}
