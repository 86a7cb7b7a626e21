import { randomInt } from 'node:crypto';

/**
 * Multiply-shift over the first 64 bits, with odd factors that differ from process to process: digests that
 * collide cannot be claimed on purpose, short of making them agree in those 64 bits.
 */
const [FACTOR_A, FACTOR_B] = [randomInt(2 ** 32 - 1) | 1, randomInt(2 ** 32 - 1) | 1];
/** Words of a digest. */
export const DIGEST_WORDS = 8;

/** Digests (sha256, 32 raw bytes each) as machine words, eight each: what {@link DigestIndex} compares. */
export function digestWords(digests: Uint8Array): Int32Array {
  const aligned = digests.byteOffset % 4 === 0 ? digests : digests.slice();
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length >>> 2);
}

/** The rows of digests that have been added, each digest once. 40 bytes per digest. */
export class DigestIndex {
  #table: Int32Array;
  #words: Int32Array;
  #length = 0;

  /** @param expected how many digests to make room for; more may come. */
  constructor(expected = 64) {
    let slots = 128;
    while (slots < expected * 2) slots *= 2;
    this.#table = new Int32Array(slots);
    this.#words = new Int32Array(Math.max(16, expected) * DIGEST_WORDS);
  }

  get length(): number {
    return this.#length;
  }

  /** The row of the digest at `row` of `words`, a new one if it was not there: numbered by first sight. */
  add(words: Int32Array, row: number): number {
    const slot = this.#slot(words, row * DIGEST_WORDS);
    const found = (this.#table[slot] ?? 0) - 1;
    if (found >= 0) return found;
    const one = this.#length;
    if ((one + 1) * DIGEST_WORDS > this.#words.length) this.#growWords();
    const own = this.#words;
    for (let i = 0; i < DIGEST_WORDS; i += 1)
      own[one * DIGEST_WORDS + i] = words[row * DIGEST_WORDS + i] ?? 0;
    this.#length += 1;
    this.#table[slot] = this.#length;
    if (this.#length * 2 > this.#table.length) this.#growTable();
    return one;
  }

  /** The row of the digest at `row` of `words`, or -1. */
  find(words: Int32Array, row: number): number {
    return (this.#table[this.#slot(words, row * DIGEST_WORDS)] ?? 0) - 1;
  }

  #slot(from: Int32Array, at: number): number {
    const table = this.#table;
    const words = this.#words;
    const mask = table.length - 1;
    const first = from[at] ?? 0;
    let hash = (Math.imul(first, FACTOR_A) + Math.imul(from[at + 1] ?? 0, FACTOR_B)) | 0;
    hash ^= hash >>> 15;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = (table[slot] ?? 0) - 1;
      if (row < 0) return slot;
      if (words[row * DIGEST_WORDS] === first && same(words, row * DIGEST_WORDS, from, at)) return slot;
    }
  }

  #growWords(): void {
    const words = new Int32Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
  }

  #growTable(): void {
    this.#table = new Int32Array(this.#table.length * 4);
    for (let row = 0; row < this.#length; row += 1)
      this.#table[this.#slot(this.#words, row * DIGEST_WORDS)] = row + 1;
  }
}

function same(left: Int32Array, leftAt: number, right: Int32Array, rightAt: number): boolean {
  for (let i = 1; i < DIGEST_WORDS; i += 1) if (left[leftAt + i] !== right[rightAt + i]) return false;
  return true;
}
