import { setTimeout as delay } from 'node:timers/promises';
import type { BundleCache, BundleCacheLimits } from '../../extensions/starlight/bundle-cache.ts';
import { SingleFlight } from '../../schemas/concurrency/single-flight.ts';
import { Circuit } from './circuit.ts';
import { RedisStore } from './redis-store.ts';

export interface RedisCacheOptions extends BundleCacheLimits {
  readonly url: string;
  readonly commandTimeoutMs?: number;
  /** How long one process may be the only one to make a value; after that others make it too. */
  readonly lockMs?: number;
  /** Failures in a row after which Redis is left alone, and for how long. */
  readonly circuitFailures?: number;
  readonly circuitOpenMs?: number;
  readonly nowMs?: () => number;
  /** Told of every failure of Redis; none reaches the caller. */
  readonly onError?: (error: unknown) => void;
}

const FIRST_POLL_MS = 10;
const MAX_POLL_MS = 250;

/** A cache that replicas share. Without a Redis that answers everything is a miss, after a bounded wait. */
export class RedisBundleCache implements BundleCache {
  readonly #store: RedisStore;
  readonly #circuit: Circuit;
  readonly #flights = new SingleFlight<Uint8Array>();
  readonly #lockMs: number;
  readonly #nowMs: () => number;
  readonly #onError: (error: unknown) => void;

  constructor(options: RedisCacheOptions) {
    this.#onError = options.onError ?? (() => undefined);
    this.#nowMs = options.nowMs ?? Date.now;
    this.#lockMs = options.lockMs ?? 10_000;
    const { url, maxBytes, maxValueBytes, ttlMs } = options;
    this.#store = new RedisStore(
      {
        url,
        maxBytes,
        maxValueBytes,
        ttlMs,
        commandTimeoutMs: options.commandTimeoutMs ?? 500,
        nowMs: this.#nowMs,
      },
      this.#onError,
    );
    this.#circuit = new Circuit({
      failures: options.circuitFailures ?? 2,
      openMs: options.circuitOpenMs ?? 5_000,
      nowMs: this.#nowMs,
    });
  }

  async get(key: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    signal.throwIfAborted();
    return await this.#try(() => this.#store.read(key));
  }

  async put(key: string, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#try(() => this.#store.write(key, bytes));
  }

  async fill(
    key: string,
    make: (signal: AbortSignal) => Promise<Uint8Array>,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    return await this.#flights.run(key, (shared) => this.#fillOnce(key, make, shared), signal);
  }

  /** Asks Redis itself, whatever the failures before. @throws where it does not answer */
  async ping(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#store.ping();
  }

  async close(): Promise<void> {
    this.#store.close();
  }

  async #fillOnce(
    key: string,
    make: (signal: AbortSignal) => Promise<Uint8Array>,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const deadlineMs = this.#nowMs() + this.#lockMs;
    let token: string | undefined;
    for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 2, MAX_POLL_MS)) {
      const kept = await this.get(key, signal);
      if (kept !== undefined) return kept;
      const answer = await this.#try(async () => ({ token: await this.#store.lock(key, this.#lockMs) }));
      token = answer?.token;
      // Without an answer there is nobody to wait for, nor a place to look at.
      if (answer === undefined || token !== undefined || this.#nowMs() >= deadlineMs) break;
      await delay(pollMs, undefined, { signal });
    }
    try {
      // Whoever had the lock before may have put the value in between the look and the lock.
      const kept = token === undefined ? undefined : await this.get(key, signal);
      if (kept !== undefined) return kept;
      const bytes = await make(signal);
      await this.#try(() => this.#store.write(key, bytes));
      return bytes;
    } finally {
      const mine = token;
      if (mine !== undefined) await this.#try(() => this.#store.unlock(key, mine));
    }
  }

  #try<T>(call: () => Promise<T>): Promise<T | undefined> {
    return this.#circuit.run(call, this.#onError);
  }
}
