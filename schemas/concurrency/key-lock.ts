/**
 * Runs tasks on the same key one after the other, and tasks on different keys side by side. Memory is one entry
 * per key in use.
 */
export class KeyLock {
  readonly #tails = new Map<string, Promise<void>>();

  /**
   * Runs `task` alone on all of `keys`. The place in each queue is taken at once, before anything is awaited,
   * so that two callers with several keys cannot wait for each other.
   */
  async run<T>(keys: readonly string[], task: () => Promise<T>): Promise<T> {
    const unique = [...new Set(keys)];
    const before = unique.map((key) => this.#tails.get(key));
    const { promise: done, resolve: finish } = Promise.withResolvers<void>();
    for (const key of unique) this.#tails.set(key, done);
    try {
      await Promise.all(before);
      return await task();
    } finally {
      for (const key of unique) if (this.#tails.get(key) === done) this.#tails.delete(key);
      finish();
    }
  }

  /** Resolves when no task runs or waits. */
  async settled(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }
}
