export interface CircuitOptions {
  /** So many failures in a row open it. */
  readonly failures: number;
  /** So long it stays open; then one call is let through to try. */
  readonly openMs: number;
  readonly nowMs: () => number;
}

/**
 * Keeps callers from waiting again and again for something that is away: after some failures in a row, calls
 * are refused at once for a while. Afterwards one is let through; its outcome closes the circuit or opens it
 * again.
 */
export class Circuit {
  readonly #options: CircuitOptions;
  #failures = 0;
  #openUntilMs = 0;
  #trying = false;

  constructor(options: CircuitOptions) {
    this.#options = options;
  }

  get open(): boolean {
    return this.#failures >= this.#options.failures;
  }

  /** @returns undefined when the circuit is open or `call` fails; `onFailure` is told of the latter. */
  async run<T>(call: () => Promise<T>, onFailure: (error: unknown) => void): Promise<T | undefined> {
    const trial = this.open;
    if (trial && (this.#trying || this.#options.nowMs() < this.#openUntilMs)) return undefined;
    if (trial) this.#trying = true;
    try {
      const result = await call();
      this.#failures = 0;
      return result;
    } catch (error) {
      this.#failures = Math.min(this.#failures + 1, this.#options.failures);
      this.#openUntilMs = this.#options.nowMs() + this.#options.openMs;
      onFailure(error);
      return undefined;
    } finally {
      if (trial) this.#trying = false;
    }
  }
}
