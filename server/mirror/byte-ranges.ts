import { type ByteRange, parseRange } from '../distribution/range.ts';

/** More ranges at once are answered by the whole, as RFC 9110 (section 14.2) allows; so are ones that overlap. */
export const MAX_RANGES = 1_000;

/**
 * Reads a Range header that may name several ranges, as lazy pullers send them: of several, those outside of the
 * content are passed over.
 *
 * @returns the ranges in the order asked for; 'whole' and 'unsatisfiable' as {@link parseRange} has them
 */
export function parseRanges(
  header: string | undefined,
  sizeBytes: number,
): readonly [ByteRange, ...ByteRange[]] | 'whole' | 'unsatisfiable' {
  const pieces = /^bytes=(.*)$/i.exec(header ?? '')?.[1]?.split(',') ?? [];
  if (pieces.length > MAX_RANGES) return 'whole';
  const ranges: ByteRange[] = [];
  for (const piece of pieces) {
    const range = parseRange(`bytes=${piece.trim()}`, sizeBytes);
    if (range === 'whole') return 'whole';
    if (range !== 'unsatisfiable') ranges.push(range);
  }
  if (pieces.length === 0) return 'whole';
  const [first, ...others] = ranges;
  if (first === undefined) return 'unsatisfiable';
  const ordered = ranges.toSorted((a, b) => a.start - b.start);
  const overlap = ordered.some((range, at) => range.start <= (ordered[at - 1]?.end ?? -1));
  return overlap ? 'whole' : [first, ...others];
}
