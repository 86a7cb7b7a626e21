import { randomInt } from 'node:crypto';

/** Colliding digests cannot be claimed on purpose: the hash differs from process to process. */
const SEED = randomInt(2 ** 31) | 1;
const WORDS = 8;

/** The rows of digests (sha256, 32 raw bytes) that have been added, each digest once. 40 bytes per digest. */
export class DigestIndex {
  #table: Uint32Array;
  #words: Uint32Array;
  #length = 0;

  /** @param expected how many digests to make room for; more may come. */
  constructor(expected = 64) {
    let slots = 128;
    while (slots < expected * 2) slots *= 2;
    this.#table = new Uint32Array(slots);
    this.#words = new Uint32Array(Math.max(1, expected) * WORDS);
  }

  get length(): number {
    return this.#length;
  }

  /** The row of a digest, a new one if it was not there: rows are numbered in the order of first sight. */
  add(digests: Uint8Array, row: number): number {
    if ((this.#length + 1) * WORDS > this.#words.length) this.#grow();
    const words = this.#words;
    const at = this.#length * WORDS;
    load(words, at, digests, row);
    const slot = this.#slot(words, at);
    const found = (this.#table[slot] ?? 0) - 1;
    if (found >= 0) return found;
    this.#length += 1;
    this.#table[slot] = this.#length;
    return this.#length - 1;
  }

  /** The row of a digest, or -1. */
  find(digests: Uint8Array, row: number): number {
    load(this.#probe, 0, digests, row);
    return (this.#table[this.#slot(this.#probe, 0)] ?? 0) - 1;
  }

  readonly #probe = new Uint32Array(WORDS);

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

  #grow(): void {
    const words = new Uint32Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
    if (this.#table.length * WORDS >= words.length * 2) return;
    this.#table = new Uint32Array(this.#table.length * 2);
    for (let row = 0; row < this.#length; row += 1) this.#table[this.#slot(words, row * WORDS)] = row + 1;
  }
}

function load(words: Uint32Array, to: number, digests: Uint8Array, row: number): void {
  let at = row * 32;
  for (let i = 0; i < WORDS; i += 1) {
    words[to + i] =
      (digests[at] ?? 0) |
      ((digests[at + 1] ?? 0) << 8) |
      ((digests[at + 2] ?? 0) << 16) |
      ((digests[at + 3] ?? 0) << 24);
    at += 4;
  }
}
