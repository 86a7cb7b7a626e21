import type { BundleCache, BundleCacheLimits } from '../../extensions/starlight/bundle-cache.ts';
import { SingleFlight } from '../../schemas/concurrency/single-flight.ts';

/** What an entry costs beside its bytes and its key, roughly. */
const ENTRY_BYTES = 256;

interface Entry {
  readonly bytes: Uint8Array;
  readonly expiresAtMs: number;
}

export interface MemoryCacheOptions extends BundleCacheLimits {
  readonly nowMs?: () => number;
}

/** A cache in this process: the least recently used goes first when `maxBytes` is reached. */
export class MemoryBundleCache implements BundleCache {
  readonly #options: MemoryCacheOptions;
  readonly #nowMs: () => number;
  /** In the order of last use, as a Map keeps the order of insertion. */
  readonly #entries = new Map<string, Entry>();
  readonly #flights = new SingleFlight<Uint8Array>();
  #sizeBytes = 0;

  constructor(options: MemoryCacheOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async get(key: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
    signal.throwIfAborted();
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#remove(key, entry);
    if (entry.expiresAtMs <= this.#nowMs()) return undefined;
    this.#insert(key, entry);
    return entry.bytes;
  }

  async put(key: string, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { maxBytes, maxValueBytes, ttlMs } = this.#options;
    const before = this.#entries.get(key);
    if (before !== undefined) this.#remove(key, before);
    const entry = { bytes, expiresAtMs: this.#nowMs() + ttlMs };
    if (bytes.length > maxValueBytes || costOf(key, entry) > maxBytes) return;
    this.#insert(key, entry);
    for (const [oldest, old] of this.#entries) {
      if (this.#sizeBytes <= maxBytes) break;
      this.#remove(oldest, old);
    }
  }

  async fill(
    key: string,
    make: (signal: AbortSignal) => Promise<Uint8Array>,
    signal: AbortSignal,
  ): Promise<Uint8Array> {
    const kept = await this.get(key, signal);
    if (kept !== undefined) return kept;
    return await this.#flights.run(
      key,
      async (shared) => {
        const bytes = await make(shared);
        await this.put(key, bytes, new AbortController().signal);
        return bytes;
      },
      signal,
    );
  }

  async close(): Promise<void> {
    this.#entries.clear();
    this.#sizeBytes = 0;
  }

  #insert(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#sizeBytes += costOf(key, entry);
  }

  #remove(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#sizeBytes -= costOf(key, entry);
  }
}

function costOf(key: string, entry: Entry): number {
  return entry.bytes.length + key.length * 2 + ENTRY_BYTES;
}
