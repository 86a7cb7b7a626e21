/** One bit per inode row: has it been opened since the trace began? Lives in shared memory. */
export class OpenTrace {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;

  /** @param source the number of inodes, or the buffer of another thread's trace. */
  constructor(source: number | SharedArrayBuffer) {
    this.buffer = typeof source === 'number' ? new SharedArrayBuffer(Math.ceil(source / 32) * 4) : source;
    this.#words = new Int32Array(this.buffer);
  }

  /** Marks an inode as opened; true when this is its first open. */
  first(inode: number): boolean {
    const bit = 1 << (inode & 31);
    return (Atomics.or(this.#words, inode >>> 5, bit) & bit) === 0;
  }

  restart(): void {
    for (let word = 0; word < this.#words.length; word++) Atomics.store(this.#words, word, 0);
  }
}
