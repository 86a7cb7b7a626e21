/** Bytes `start` up to and including `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads a Range header against a body of `sizeBytes` (RFC 9110, section 14).
 *
 * @returns the one range asked for, clamped to the body; 'whole' where the header is to be passed over (absent,
 * malformed, another unit, several ranges: answering those in full is allowed); 'unsatisfiable' for 416, which a
 * range that ends before it begins is as well.
 */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): ByteRange | 'whole' | 'unsatisfiable' {
  const match = /^bytes=[ \t]*(\d{0,16})-(\d{0,16})[ \t]*$/i.exec(header ?? '');
  if (match === null) return 'whole';
  const [, first = '', last = ''] = match;
  if (first === '') {
    if (last === '') return 'whole';
    const suffixBytes = Math.min(Number(last), sizeBytes);
    return suffixBytes === 0 ? 'unsatisfiable' : { start: sizeBytes - suffixBytes, end: sizeBytes - 1 };
  }
  const start = Number(first);
  if (start >= sizeBytes || (last !== '' && Number(last) < start)) return 'unsatisfiable';
  return { start, end: last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1) };
}

/**
 * Reads the Content-Range of an upload's chunk: `<start>-<end>`, both inclusive; the `bytes ` and `/<size>` that
 * some clients write around it are let pass.
 *
 * @returns undefined where it is malformed.
 */
export function parseChunkRange(header: string): ByteRange | undefined {
  const match = /^(?:bytes[ =])?[ \t]*(\d{1,16})-(\d{1,16})(?:\/(?:\d{1,16}|\*))?$/i.exec(header.trim());
  if (match === null) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]);
  return end < start ? undefined : { start, end };
}

/** True when an If-None-Match header (RFC 9110, section 13.1.2) names `etag` or everything. */
export function noneMatchNames(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false;
  return header.split(',').some((part) => {
    const text = part.trim().replace(/^W\//, '');
    return text === '*' || text === etag;
  });
}
