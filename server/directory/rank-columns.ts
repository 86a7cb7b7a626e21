import { DirectoryError, MAX_RANKS, type RankRow } from '../../extensions/starlight/directory.ts';

/*
 * Ranks of one image as one value of the database, little endian:
 *
 *   u32 version = 1 | u32 count | count × f64 rank sum | count × u32 hits | count × u32 content |
 *   count × u32 path end | paths
 *
 * Rows stand in the order of their paths' bytes, so that the same ranks are the same bytes.
 */
const VERSION = 1;
const HEADER_BYTES = 8;
const ROW_BYTES = 20;

export function encodeRanks(rows: readonly RankRow[]): Uint8Array {
  const sorted = [...rows].sort((a, b) => Buffer.compare(a.path, b.path));
  const pathBytes = sorted.reduce((sum, row) => sum + row.path.length, 0);
  const out = Buffer.alloc(HEADER_BYTES + sorted.length * ROW_BYTES + pathBytes);
  out.writeUInt32LE(VERSION, 0);
  out.writeUInt32LE(sorted.length, 4);
  const hitsAt = HEADER_BYTES + sorted.length * 8;
  const contentsAt = hitsAt + sorted.length * 4;
  const endsAt = contentsAt + sorted.length * 4;
  const pathsAt = endsAt + sorted.length * 4;
  let end = 0;
  sorted.forEach((row, index) => {
    out.writeDoubleLE(row.rankSum, HEADER_BYTES + index * 8);
    out.writeUInt32LE(row.hits, hitsAt + index * 4);
    out.writeUInt32LE(row.content, contentsAt + index * 4);
    out.set(row.path, pathsAt + end);
    end += row.path.length;
    out.writeUInt32LE(end, endsAt + index * 4);
  });
  return out;
}

/** @throws {DirectoryError} of kind `corrupt` when the bytes are not what encodeRanks writes. */
export function decodeRanks(bytes: Uint8Array): RankRow[] {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (input.length < HEADER_BYTES || input.readUInt32LE(0) !== VERSION) throw corrupt();
  const count = input.readUInt32LE(4);
  const hitsAt = HEADER_BYTES + count * 8;
  const contentsAt = hitsAt + count * 4;
  const endsAt = contentsAt + count * 4;
  const pathsAt = endsAt + count * 4;
  if (count > MAX_RANKS || pathsAt > input.length) throw corrupt();
  const rows: RankRow[] = [];
  let start = 0;
  for (let index = 0; index < count; index++) {
    const end = input.readUInt32LE(endsAt + index * 4);
    const rankSum = input.readDoubleLE(HEADER_BYTES + index * 8);
    if (end < start || pathsAt + end > input.length || !(rankSum >= 0)) throw corrupt();
    rows.push({
      path: Uint8Array.prototype.slice.call(input, pathsAt + start, pathsAt + end),
      content: input.readUInt32LE(contentsAt + index * 4),
      rankSum,
      hits: input.readUInt32LE(hitsAt + index * 4),
    });
    start = end;
  }
  if (pathsAt + start !== input.length) throw corrupt();
  return rows;
}

/**
 * The rows of both, those of one path added up.
 * @throws {DirectoryError} of kind `too-many-ranks` above MAX_RANKS paths.
 */
export function addRankRows(known: readonly RankRow[], added: readonly RankRow[]): RankRow[] {
  const byPath = new Map<string, RankRow>();
  for (const row of [...known, ...added]) {
    const key = Buffer.from(row.path.buffer, row.path.byteOffset, row.path.byteLength).toString('latin1');
    const before = byPath.get(key);
    byPath.set(
      key,
      before === undefined
        ? row
        : { ...row, rankSum: before.rankSum + row.rankSum, hits: before.hits + row.hits },
    );
  }
  if (byPath.size > MAX_RANKS) {
    throw new DirectoryError(
      { kind: 'too-many-ranks', limit: MAX_RANKS },
      `more than ${MAX_RANKS} files were traced in one image`,
    );
  }
  return [...byPath.values()];
}

function corrupt(): DirectoryError {
  return new DirectoryError(
    { kind: 'corrupt', what: 'ranks' },
    'the ranks in the database are not of the form that this program writes',
  );
}
