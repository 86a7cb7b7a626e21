/** Content is fetched in blocks of this size, from a multiple of it on; only the last block may be shorter. */
export const BLOCK_BYTES = 1 << 20;

/** Bytes `start` up to and excluding `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Which blocks of something are there: one bit per block. */
export class BlockMap {
  readonly sizeBytes: number;
  readonly #bits: Uint8Array;
  readonly #count: number;
  #present = 0;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#count = Math.ceil(sizeBytes / BLOCK_BYTES);
    this.#bits = new Uint8Array(Math.ceil(this.#count / 8));
  }

  get complete(): boolean {
    return this.#present === this.#count;
  }

  /** True when the byte at `offset` is there. */
  has(offset: number): boolean {
    return this.#bit(Math.floor(offset / BLOCK_BYTES));
  }

  /** Marks the block that begins at `start`. */
  add(start: number): void {
    const block = Math.floor(start / BLOCK_BYTES);
    if (this.#bit(block)) return;
    this.#bits[block >> 3] = (this.#bits[block >> 3] ?? 0) | (1 << (block & 7));
    this.#present += 1;
  }

  /** The end of what is there without a gap from `offset` on; `offset` itself where nothing is. */
  presentTo(offset: number): number {
    let block = Math.floor(offset / BLOCK_BYTES);
    if (offset >= this.sizeBytes || !this.#bit(block)) return offset;
    while (block < this.#count && this.#bit(block)) block += 1;
    return Math.min(block * BLOCK_BYTES, this.sizeBytes);
  }

  /** How many bytes of the blocks within `span` are there. */
  presentBytes({ start, end }: Span): number {
    let bytes = 0;
    for (let at = start; at < end; at = blockEnd(at, this.sizeBytes)) {
      if (this.has(at)) bytes += blockEnd(at, this.sizeBytes) - at;
    }
    return bytes;
  }

  #bit(block: number): boolean {
    return ((this.#bits[block >> 3] ?? 0) & (1 << (block & 7))) !== 0;
  }
}

export function blockStart(offset: number): number {
  return offset - (offset % BLOCK_BYTES);
}

/** Where the block around `offset` ends. */
export function blockEnd(offset: number, sizeBytes: number): number {
  return Math.min(blockStart(offset) + BLOCK_BYTES, sizeBytes);
}

/**
 * What to fetch when the byte at `offset` is missing and bytes up to `wantedEnd` will be wanted: whole blocks,
 * `atLeastBytes` of them where so many are missing, and never one that is there or in `underWay`.
 */
export function planSpan(
  blocks: BlockMap,
  underWay: Iterable<Span>,
  { offset, wantedEnd, atLeastBytes }: { offset: number; wantedEnd: number; atLeastBytes: number },
): Span {
  const start = blockStart(offset);
  const goal = Math.min(Math.max(wantedEnd, start + atLeastBytes), blocks.sizeBytes);
  let limit = blocks.sizeBytes;
  for (const span of underWay) if (span.start > offset) limit = Math.min(limit, span.start);
  let end = start;
  while (end < goal && end < limit && !blocks.has(end)) end = blockEnd(end, blocks.sizeBytes);
  return { start, end };
}
