interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

/**
 * Work that many may ask for at once and that is done once: whoever asks for a key that is under way waits
 * for that. The work has a signal of its own, aborted when the last waiter has left. Nothing is kept: the
 * next question after the end starts anew.
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, Flight<T>>();

  get size(): number {
    return this.#flights.size;
  }

  /** @throws what `work` throws, and the signal's reason when this caller leaves. */
  async run(key: string, work: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const flight = this.#flights.get(key) ?? this.#start(key, work);
    flight.waiters++;
    let leave: () => void = () => undefined;
    const left = new Promise<never>((_, reject) => {
      leave = () => reject(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
    });
    try {
      return await Promise.race([flight.result, left]);
    } finally {
      signal.removeEventListener('abort', leave);
      flight.waiters--;
      if (flight.waiters === 0) {
        // Nobody may join what is being aborted.
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
        flight.controller.abort(new DOMException('nobody waits for this any more', 'AbortError'));
      }
    }
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const result = (async () => await work(controller.signal))();
    const flight: Flight<T> = { result, controller, waiters: 0 };
    this.#flights.set(key, flight);
    const forget = () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    result.then(forget, forget);
    return flight;
  }
}
