/**
 * Keeps what is costly to make anew and often asked for: planned bundles, by keys that the caller makes.
 * A cache and nothing else: what it answers was put in under that key, entire and unchanged, or it is a
 * miss. Its own troubles (a server that is away, a damaged value) are misses too and never thrown.
 * Implementations: server/cache; the contract that they pass: conformance/cache.
 */
export interface BundleCache {
  /** A miss is undefined. */
  get(key: string, signal: AbortSignal): Promise<Uint8Array | undefined>;

  /** Keeps `bytes` for a while; values above the cache's limit are not kept, older ones make room. */
  put(key: string, bytes: Uint8Array, signal: AbortSignal): Promise<void>;

  /**
   * What is kept under `key`; else what `make` gives, which is kept. Of many at once, in all processes that
   * share the cache, one makes it and the others wait for that, for a bounded time: when the maker is gone
   * or too slow they make it themselves. The signal of `make` is aborted when nobody waits any more.
   * @throws what `make` throws, and the signal's reason.
   */
  fill(
    key: string,
    make: (signal: AbortSignal) => Promise<Uint8Array>,
    signal: AbortSignal,
  ): Promise<Uint8Array>;

  close(): Promise<void>;
}

export interface BundleCacheLimits {
  /** All values together. */
  readonly maxBytes: number;
  /** One value. */
  readonly maxValueBytes: number;
  readonly ttlMs: number;
}
