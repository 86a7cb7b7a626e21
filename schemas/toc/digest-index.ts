import { randomInt } from 'node:crypto';

/** Colliding digests cannot be claimed on purpose: the hash differs from process to process. */
const SEED = randomInt(2 ** 31) | 1;
const WORDS = 8;

/** Digests (sha256, 32 raw bytes each) as machine words, eight each: what {@link DigestIndex} compares. */
export function digestWords(digests: Uint8Array): Uint32Array {
  const aligned = digests.byteOffset % 4 === 0 ? digests : digests.slice();
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >>> 2);
}

/** The rows of digests that have been added, each digest once. 40 bytes per digest. */
export class DigestIndex {
  #table: Uint32Array;
  #words: Uint32Array;
  #length = 0;

  /** @param expected how many digests to make room for; more may come. */
  constructor(expected = 64) {
    let slots = 128;
    while (slots < expected * 2) slots *= 2;
    this.#table = new Uint32Array(slots);
    this.#words = new Uint32Array(Math.max(16, expected) * WORDS);
  }

  get length(): number {
    return this.#length;
  }

  /** The row of the digest at `row` of `words`, a new one if it was not there: numbered by first sight. */
  add(words: Uint32Array, row: number): number {
    const slot = this.#slot(words, row * WORDS);
    const found = (this.#table[slot] ?? 0) - 1;
    if (found >= 0) return found;
    const one = this.#length;
    if ((one + 1) * WORDS > this.#words.length) this.#growWords();
    const own = this.#words;
    for (let i = 0; i < WORDS; i += 1) own[one * WORDS + i] = words[row * WORDS + i] ?? 0;
    this.#length += 1;
    this.#table[slot] = this.#length;
    if (this.#length * 2 > this.#table.length) this.#growTable();
    return one;
  }

  /** The row of the digest at `row` of `words`, or -1. */
  find(words: Uint32Array, row: number): number {
    return (this.#table[this.#slot(words, row * WORDS)] ?? 0) - 1;
  }

  #slot(from: Uint32Array, at: number): number {
    const table = this.#table;
    const words = this.#words;
    const mask = table.length - 1;
    let hash = SEED;
    for (let i = 0; i < WORDS; i += 1)
      hash = Math.imul(hash ^ (from[at + i] ?? 0), 0x9e3779b1) ^ (hash >>> 15);
    hash ^= hash >>> 16;
    search: for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = (table[slot] ?? 0) - 1;
      if (row < 0) return slot;
      for (let i = 0; i < WORDS; i += 1) if (words[row * WORDS + i] !== from[at + i]) continue search;
      return slot;
    }
  }

  #growWords(): void {
    const words = new Uint32Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
  }

  #growTable(): void {
    this.#table = new Uint32Array(this.#table.length * 4);
    for (let row = 0; row < this.#length; row += 1)
      this.#table[this.#slot(this.#words, row * WORDS)] = row + 1;
  }
}
