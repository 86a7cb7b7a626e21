/** Something on disk that nobody uses now. */
export interface Idle {
  readonly sizeBytes: number;
  /** Takes it off the disk, and releases its bytes. Called once. */
  evict(): void;
}

/**
 * The bytes that all of the cache may take, and who has to go when there are too many: what is not in use, least
 * recently used first. What is in use is never asked to go; where that fills the cache, nothing more is let in.
 */
export class Space {
  readonly #maxBytes: number;
  readonly #onEvict: () => void;
  /** In the order in which they fell out of use. */
  readonly #idle = new Map<string, Idle>();
  #idleBytes = 0;
  #usedBytes = 0;

  constructor(maxBytes: number, onEvict: () => void) {
    this.#maxBytes = maxBytes;
    this.#onEvict = onEvict;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Of those, what could go at once. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Takes `bytes`, evicting for them. @returns false, with nothing evicted, where that cannot make room. */
  reserve(bytes: number): boolean {
    const excess = this.#usedBytes + bytes - this.#maxBytes;
    if (excess > this.#idleBytes) return false;
    this.#usedBytes += bytes;
    this.evict(excess);
    return true;
  }

  /** Counts what is on the disk already, whether there is room for it or not. */
  count(bytes: number): void {
    this.#usedBytes += bytes;
  }

  release(bytes: number): void {
    this.#usedBytes -= bytes;
  }

  /** Evicts until the limit is kept, as far as there is something to evict. */
  trim(): void {
    this.evict(this.#usedBytes - this.#maxBytes);
  }

  /** Evicts at least `bytes`, as far as there is something to evict. */
  evict(bytes: number): void {
    let left = bytes;
    for (const [key, idle] of this.#idle) {
      if (left <= 0) return;
      this.claim(key);
      left -= idle.sizeBytes;
      this.#onEvict();
      idle.evict();
    }
  }

  /** From now on, what `key` stands for may be evicted; its bytes are among those counted. */
  offer(key: string, idle: Idle): void {
    this.claim(key);
    this.#idle.set(key, idle);
    this.#idleBytes += idle.sizeBytes;
  }

  /** From now on it is in use, or gone by other means. */
  claim(key: string): void {
    const idle = this.#idle.get(key);
    if (idle === undefined) return;
    this.#idle.delete(key);
    this.#idleBytes -= idle.sizeBytes;
  }
}
