import type { Piece } from './payload-plan.ts';

/** A range of one blob, and what of it goes where. */
export interface RangeRequest {
  readonly source: number;
  readonly offset: number;
  readonly length: number;
  /** Ascending by offset. */
  readonly parts: readonly RequestPart[];
}

export interface RequestPart {
  /** In the blob. */
  readonly offset: number;
  readonly length: number;
  /** Where it begins in the window. */
  readonly target: number;
}

export interface CoalesceLimits {
  readonly gapBytes: number;
  readonly requestBytes: number;
}

/**
 * The requests that fetch these pieces, which lie in the window one after the other: pieces of one blob that
 * are neighbours, or nearly, become one request, whatever their order in the window.
 */
export function coalesce(pieces: readonly Piece[], limits: CoalesceLimits): RangeRequest[] {
  let target = 0;
  const placed = pieces.map((piece) => {
    const at = target;
    target += piece.length;
    return { ...piece, target: at };
  });
  placed.sort((a, b) => a.source - b.source || a.offset - b.offset);
  const requests: RangeRequest[] = [];
  let parts: RequestPart[] = [];
  let source = -1;
  let start = 0;
  let end = 0;
  const flush = () => {
    if (parts.length > 0) requests.push({ source, offset: start, length: end - start, parts });
  };
  for (const piece of placed) {
    const pieceEnd = piece.offset + piece.length;
    const fits =
      piece.source === source &&
      piece.offset >= end &&
      piece.offset - end <= limits.gapBytes &&
      pieceEnd - start <= limits.requestBytes;
    if (!fits) {
      flush();
      parts = [];
      source = piece.source;
      start = piece.offset;
    }
    end = pieceEnd;
    parts.push({ offset: piece.offset, length: piece.length, target: piece.target });
  }
  flush();
  return requests;
}
