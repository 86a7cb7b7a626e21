export interface CircuitOptions {
  /** So many failures in a row open it. */
  readonly failures: number;
  /** So long it stays open; then one call is let through to try. */
  readonly openMs: number;
  readonly nowMs: () => number;
}

/** Leave to call, given once per call, and to be told how that went. */
export interface Admission {
  succeeded(): void;
  failed(): void;
  /** The call says nothing about what was called: the caller itself gave up. */
  abandoned(): void;
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

  /** How long calls are still refused; 0 where they are not, or one may try. */
  get waitMs(): number {
    return this.open ? Math.max(0, this.#openUntilMs - this.#options.nowMs()) : 0;
  }

  /** undefined when the circuit is open: do not call. */
  admit(): Admission | undefined {
    const trial = this.open;
    if (trial && (this.#trying || this.waitMs > 0)) return undefined;
    if (trial) this.#trying = true;
    let told = false;
    const tell = (then: () => void) => () => {
      if (told) return;
      told = true;
      if (trial) this.#trying = false;
      then();
    };
    return {
      succeeded: tell(() => {
        this.#failures = 0;
      }),
      failed: tell(() => {
        this.#failures = Math.min(this.#failures + 1, this.#options.failures);
        this.#openUntilMs = this.#options.nowMs() + this.#options.openMs;
      }),
      abandoned: tell(() => undefined),
    };
  }

  /** @returns undefined when the circuit is open or `call` fails; `onFailure` is told of the latter. */
  async run<T>(call: () => Promise<T>, onFailure: (error: unknown) => void): Promise<T | undefined> {
    const admission = this.admit();
    if (admission === undefined) return undefined;
    try {
      const result = await call();
      admission.succeeded();
      return result;
    } catch (error) {
      admission.failed();
      onFailure(error);
      return undefined;
    }
  }
}
