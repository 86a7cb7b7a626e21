/** Bytes at a place of a file. */
export interface Part {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Size of the pieces that {@link joinParts} gives out, but the last. */
export const PIECE_BYTES = 256 * 1024;

/**
 * A file of `sizeBytes` out of parts that ascend and do not overlap; zeros between them. A part may be
 * overwritten when the next is asked for; the pieces are new memory each.
 */
export function* joinParts(parts: Iterable<Part>, sizeBytes: number): Generator<Uint8Array<ArrayBuffer>> {
  let start = 0;
  let piece = new Uint8Array(Math.min(PIECE_BYTES, sizeBytes));
  for (const { at, bytes } of parts) {
    for (let done = 0; done < bytes.length; ) {
      while (at + done >= start + piece.length) {
        yield piece;
        start += piece.length;
        piece = new Uint8Array(Math.min(PIECE_BYTES, sizeBytes - start));
      }
      const from = at + done - start;
      const count = Math.min(bytes.length - done, piece.length - from);
      piece.set(bytes.subarray(done, done + count), from);
      done += count;
    }
  }
  while (start < sizeBytes) {
    yield piece;
    start += piece.length;
    piece = new Uint8Array(Math.min(PIECE_BYTES, sizeBytes - start));
  }
}
