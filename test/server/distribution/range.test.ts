import assert from 'node:assert/strict';
import { noneMatchNames, parseChunkRange, parseRange } from '../../../server/distribution/range.ts';

describe('parseRange()', () => {
  const ROWS: readonly (readonly [string | undefined, number, unknown])[] = [
    ['bytes=500-1499', 2048, { start: 500, end: 1499 }],
    ['bytes=500-', 2048, { start: 500, end: 2047 }],
    ['bytes=-500', 2048, { start: 1548, end: 2047 }],
    ['bytes=-5000', 2048, { start: 0, end: 2047 }],
    ['bytes=0-0', 1, { start: 0, end: 0 }],
    ['bytes=1000-5000', 2048, { start: 1000, end: 2047 }],
    ['Bytes= 1-2 ', 2048, { start: 1, end: 2 }],
    ['bytes=5000-10000', 2048, 'unsatisfiable'],
    ['bytes=2048-', 2048, 'unsatisfiable'],
    ['bytes=-0', 2048, 'unsatisfiable'],
    ['bytes=0-', 0, 'unsatisfiable'],
    ['bytes=-1', 0, 'unsatisfiable'],
    ['bytes=5-4', 2048, 'unsatisfiable'],
    [undefined, 2048, 'whole'],
    ['', 2048, 'whole'],
    ['bytes=', 2048, 'whole'],
    ['bytes=-', 2048, 'whole'],
    ['bytes=a-b', 2048, 'whole'],
    ['bytes=1-2,4-5', 2048, 'whole'],
    ['bytes=--5', 2048, 'whole'],
    ['bytes=1.5-2', 2048, 'whole'],
    ['lines=1-2', 2048, 'whole'],
    [`bytes=${'9'.repeat(30)}-`, 2048, 'whole'],
  ];
  for (const [header, sizeBytes, expected] of ROWS) {
    it(`reads ${header} of ${sizeBytes}`, () => assert.deepEqual(parseRange(header, sizeBytes), expected));
  }
});

describe('parseChunkRange()', () => {
  const ROWS: readonly (readonly [string, unknown])[] = [
    ['0-99', { start: 0, end: 99 }],
    ['bytes 0-99/100', { start: 0, end: 99 }],
    ['bytes=5-5', { start: 5, end: 5 }],
    ['0-99/*', { start: 0, end: 99 }],
    ['', undefined],
    ['99', undefined],
    ['5-4', undefined],
    ['-5', undefined],
    ['5-', undefined],
    ['a-b', undefined],
    ['0-1,2-3', undefined],
    ['0-1/x', undefined],
  ];
  for (const [header, expected] of ROWS) {
    it(`reads ${JSON.stringify(header)}`, () => assert.deepEqual(parseChunkRange(header), expected));
  }
});

describe('noneMatchNames()', () => {
  const ROWS: readonly (readonly [string | undefined, boolean])[] = [
    ['"x"', true],
    ['W/"x"', true],
    ['"y", "x"', true],
    ['*', true],
    [undefined, false],
    ['', false],
    ['x', false],
    ['"y"', false],
    ['"xx"', false],
  ];
  for (const [header, expected] of ROWS) {
    it(`${expected ? 'finds' : 'does not find'} "x" in ${header}`, () =>
      assert.equal(noneMatchNames(header, '"x"'), expected));
  }
});
