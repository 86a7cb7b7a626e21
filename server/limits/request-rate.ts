/** Clients that are counted; the ones longest quiet are forgotten first, and those have their whole burst anyway. */
const MAX_CLIENTS = 65_536;

interface Bucket {
  tokens: number;
  filledMs: number;
}

export interface RequestRateOptions {
  readonly perS: number;
  readonly burst: number;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** A token bucket per client. Memory is one entry per client, of 65,536 at most. */
export class RequestRate {
  readonly #options: RequestRateOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: RequestRateOptions) {
    this.#options = options;
  }

  /** Takes one request of a client's. @returns undefined if it may go on, else after how many seconds it may. */
  take(client: string): number | undefined {
    const { perS, burst, nowMs } = this.#options;
    const now = nowMs();
    const before = this.#buckets.get(client);
    const tokens =
      before === undefined ? burst : Math.min(burst, before.tokens + ((now - before.filledMs) / 1000) * perS);
    const left = tokens >= 1 ? tokens - 1 : tokens;
    this.#buckets.delete(client); // to the end: the first is the longest quiet
    this.#buckets.set(client, { tokens: left, filledMs: now });
    if (this.#buckets.size > MAX_CLIENTS) {
      const quiet = this.#buckets.keys().next().value;
      if (quiet !== undefined) this.#buckets.delete(quiet);
    }
    return tokens >= 1 ? undefined : Math.max(1, Math.ceil((1 - tokens) / perS));
  }
}
