import { LayerError } from './layer-error.ts';

/** The records of a PAX extended header by key (Latin-1, a character a byte); of equal keys the last counts. */
export type PaxRecords = ReadonlyMap<string, Buffer>;

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;
/** A record's length has at most so many digits: the header as a whole is bounded. */
const LENGTH_DIGITS = 8;
/** GNU sparse format 0.0 repeats these; Go's archive/tar makes the map of format 0.1 of them as well. */
const SPARSE_PAIR = new Set(['GNU.sparse.offset', 'GNU.sparse.numbytes']);
const COMMA = Buffer.from(',');
const NO_NUL_VALUE = new Set(['path', 'linkpath', 'uname', 'gname']);

/**
 * Records `<length> <key>=<value>\n`, the length in decimal counting itself (POSIX pax, "pax Extended
 * Header"). A value may hold anything, line ends and NULs too, hence the length.
 *
 * @throws {LayerError} `tar`
 */
export function parsePax(data: Buffer): PaxRecords {
  const records = new Map<string, Buffer>();
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(SPACE, at);
    const digits = space < 0 || space - at > LENGTH_DIGITS ? '' : data.toString('latin1', at, space);
    const end = at + Number(digits);
    if (!/^\d+$/.test(digits) || end > data.length || end < space + 2 || data[end - 1] !== NEWLINE) {
      throw new LayerError('tar', 'a PAX record with a wrong length');
    }
    const equals = data.indexOf(EQUALS, space);
    if (equals < 0 || equals >= end - 1 || equals === space + 1) {
      throw new LayerError('tar', 'a PAX record without a key');
    }
    const key = data.toString('latin1', space + 1, equals);
    const value = data.subarray(equals + 1, end - 1);
    // Go, archive/tar validPAXRecord: a NUL would cut the text where the system reads it.
    if (key.includes('\0') || (NO_NUL_VALUE.has(key) && value.includes(0))) {
      throw new LayerError('tar', 'a PAX record with a NUL in it');
    }
    if (SPARSE_PAIR.has(key)) {
      const map = records.get('GNU.sparse.map');
      records.set('GNU.sparse.map', map === undefined ? value : Buffer.concat([map, COMMA, value]));
    } else records.set(key, value);
    at = end;
  }
  return records;
}
