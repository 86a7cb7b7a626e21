import assert from 'node:assert/strict';
import { DirectoryError, MAX_RANKS, type RankRow } from '../../../extensions/starlight/directory.ts';
import { addRankRows, decodeRanks, encodeRanks } from '../../../server/directory/rank-columns.ts';

const row = (path: string, rankSum: number, hits: number): RankRow => ({
  path: Buffer.from(path, 'latin1'),
  content: path.length * 70_000,
  rankSum,
  hits,
});
const plain = (rows: readonly RankRow[]) =>
  rows.map(({ path, content, rankSum, hits }) => {
    assert.equal(content, path.length * 70_000);
    return [Buffer.from(path).toString('latin1'), rankSum, hits];
  });
const isCorrupt = (error: unknown) => error instanceof DirectoryError && error.fault.kind === 'corrupt';

describe('encodeRanks() and decodeRanks()', () => {
  const TABLES: readonly (readonly RankRow[])[] = [
    [],
    [row('a', 0, 1)],
    [row('', 1, 1), row('bin/sh', 2.5, 3), row('x\xff\x00y', 1e12, 4_000_000_000)],
  ];
  for (const rows of TABLES) {
    it(`gives back ${rows.length} rows`, () => {
      assert.deepEqual(plain(decodeRanks(encodeRanks(rows))), plain(rows));
    });
  }

  it('gives the same bytes for the same rows in another order', () => {
    const rows = [row('b', 1, 1), row('a', 2, 2), row('c', 3, 3)];
    assert.deepEqual(encodeRanks(rows), encodeRanks([...rows].reverse()));
  });

  const good = Buffer.from(encodeRanks([row('abc', 1, 2), row('d', 3, 4)]));
  const changed = (change: (bytes: Buffer) => void) => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  const BAD: readonly (readonly [what: string, bytes: Uint8Array])[] = [
    ['nothing', Buffer.alloc(0)],
    ['another version', changed((bytes) => bytes.writeUInt32LE(2, 0))],
    ['more rows than there are bytes', changed((bytes) => bytes.writeUInt32LE(1000, 4))],
    ['a count above the limit', changed((bytes) => bytes.writeUInt32LE(MAX_RANKS + 1, 4))],
    ['fewer rows', changed((bytes) => bytes.writeUInt32LE(1, 4))],
    ['a negative sum', changed((bytes) => bytes.writeDoubleLE(-1, 8))],
    ['a sum that is no number', changed((bytes) => bytes.writeDoubleLE(Number.NaN, 8))],
    ['a path that ends before it begins', changed((bytes) => bytes.writeUInt32LE(9, 40))],
    ['a path that ends too early', changed((bytes) => bytes.writeUInt32LE(2, 44))],
    ['one byte more', Buffer.concat([good, Buffer.alloc(1)])],
    ['one byte less', good.subarray(0, -1)],
  ];
  for (const [what, bytes] of BAD) {
    it(`refuses ${what}`, () => {
      assert.throws(() => decodeRanks(bytes), isCorrupt);
    });
  }

  it('never fails otherwise, whatever the bytes', () => {
    for (let at = 0; at < good.length; at++) {
      for (const value of [0, 1, 127, 128, 255]) {
        try {
          decodeRanks(changed((bytes) => bytes.writeUInt8(value, at)));
        } catch (error) {
          assert.ok(isCorrupt(error), String(error));
        }
      }
    }
  });
});

describe('addRankRows()', () => {
  it('adds up rows of one path and keeps the others', () => {
    const sum = addRankRows(
      [row('a', 1, 1), row('b', 2, 2)],
      [row('b', 3, 1), row('c', 4, 1), row('c', 5, 1)],
    );
    assert.deepEqual(plain(sum), [
      ['a', 1, 1],
      ['b', 5, 3],
      ['c', 9, 2],
    ]);
  });

  it('tells paths apart that are the same as text', () => {
    assert.equal(addRankRows([row('\xff', 1, 1)], [row('\xfe', 1, 1)]).length, 2);
  });
});
