/**
 * A content that is nowhere in the tar stream as a run of bytes (a sparse file's) is put into the layer beside
 * it: gzip members that hold it stand in the extra fields of empty members, which every reader of gzip skips.
 * So the tar stream stays what it is, and the content is still a run of whole gzip members in the blob:
 *
 *   outer:  header, extra field "SL" with piece 1 | empty, trailer || header, "SL" with piece 2 | empty, trailer || ...
 *   inner:                            member 1, header of a bridge [----- its extra field -----] its end, member 2, ...
 *
 * Between two pieces lie 26 bytes of the outer members; inside, they are the extra field of an empty member, a
 * bridge, whose header ends one piece and whose end begins the next.
 */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 2, 255]);
/** An empty deflate stream, CRC-32 and size. */
const EMPTY_END = Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
const ID = Buffer.from('SL', 'latin1');
const LENGTH_BYTES = 2;
const SUBFIELD_BYTES = ID.length + LENGTH_BYTES;
/** From the start of an outer member to its piece. */
const PIECE_OFFSET = HEADER.length + LENGTH_BYTES + SUBFIELD_BYTES;
const GAP_BYTES = EMPTY_END.length + PIECE_OFFSET;

/** So much fits into one piece however badly it compresses; zeros, which do well, may be more. */
export const HIDDEN_DATA_BYTES = 60_000;
export const HIDDEN_ZERO_BYTES = 8 * 1024 * 1024;
const MAX_PIECE_BYTES = 0xffff - SUBFIELD_BYTES;

function length16(value: number): Buffer {
  const bytes = Buffer.alloc(LENGTH_BYTES);
  bytes.writeUInt16LE(value);
  return bytes;
}

/** The outer members that carry these inner ones. @throws {RangeError} when one is too large. */
export function hideMembers(members: readonly Buffer[]): Buffer {
  const out: Buffer[] = [];
  members.forEach((member, row) => {
    const piece = [member];
    if (row > 0) piece.unshift(EMPTY_END);
    if (row < members.length - 1) piece.push(HEADER, length16(GAP_BYTES));
    const sizeBytes = piece.reduce((sum, part) => sum + part.length, 0);
    if (sizeBytes > MAX_PIECE_BYTES) throw new RangeError('a hidden member is too large');
    out.push(HEADER, length16(sizeBytes + SUBFIELD_BYTES), ID, length16(sizeBytes), ...piece, EMPTY_END);
  });
  return Buffer.concat(out);
}

/** The piece that an empty member carries, if it does. */
export function hiddenPiece(member: {
  readonly lengthBytes: number;
  readonly sizeBytes: number;
  readonly extra: Buffer | undefined;
}): Buffer | undefined {
  const { extra, lengthBytes, sizeBytes } = member;
  if (extra === undefined || sizeBytes !== 0 || !extra.subarray(0, ID.length).equals(ID)) return undefined;
  const piece = extra.subarray(SUBFIELD_BYTES);
  const exact = extra.length >= SUBFIELD_BYTES && extra.readUInt16LE(ID.length) === piece.length;
  return exact && lengthBytes === PIECE_OFFSET + piece.length + EMPTY_END.length ? piece : undefined;
}

/** A run of pieces that follow each other in a blob, as the range that they make up. */
export class HiddenRun {
  readonly #pieces: Buffer[] = [];
  #offset = 0;
  #lengthBytes = 0;

  /** @param memberOffset of the outer member, in the blob. */
  add(memberOffset: number, piece: Buffer): void {
    if (this.#pieces.length === 0) this.#offset = memberOffset + PIECE_OFFSET;
    else {
      // What lies between is skipped by whoever reads it; only its length is of meaning.
      this.#pieces.push(Buffer.alloc(GAP_BYTES));
      this.#lengthBytes += GAP_BYTES;
    }
    this.#pieces.push(piece);
    this.#lengthBytes += piece.length;
  }

  get offset(): number {
    return this.#offset;
  }

  get lengthBytes(): number {
    return this.#lengthBytes;
  }

  /** What the range holds, but for the bytes between the pieces. */
  get pieces(): readonly Buffer[] {
    return this.#pieces;
  }
}
