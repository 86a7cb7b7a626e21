import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { BLOCK_BYTES as B, BlockMap, planSpan, type Span } from '../../../server/mirror/block-map.ts';

const SIZE = 5 * B + 100;

function withBlocks(sizeBytes: number, blocks: readonly number[]): BlockMap {
  const map = new BlockMap(sizeBytes);
  for (const block of blocks) map.add(block * B);
  return map;
}

describe('BlockMap', () => {
  const PRESENT: readonly (readonly [blocks: readonly number[], offset: number, to: number])[] = [
    [[], 0, 0],
    [[0], 0, B],
    [[0], 7, B],
    [[0], B, B],
    [[1], 0, 0],
    [[0, 1, 3], 5, 2 * B],
    [[5], 5 * B, SIZE],
    [[5], SIZE, SIZE],
    [[0, 1, 2, 3, 4, 5], 0, SIZE],
  ];
  for (const [blocks, offset, to] of PRESENT) {
    it(`with blocks ${blocks} has bytes from ${offset} to ${to}`, () => {
      assert.equal(withBlocks(SIZE, blocks).presentTo(offset), to);
    });
  }

  const COMPLETE: readonly (readonly [sizeBytes: number, blocks: readonly number[], boolean])[] = [
    [0, [], true],
    [1, [], false],
    [1, [0], true],
    [B, [0, 0], true],
    [B + 1, [0], false],
    [B + 1, [1, 0], true],
    [SIZE, [0, 1, 2, 3, 4], false],
    [SIZE, [5, 4, 3, 2, 1, 0], true],
  ];
  for (const [sizeBytes, blocks, complete] of COMPLETE) {
    it(`of ${sizeBytes} bytes with blocks ${blocks} is ${complete ? '' : 'not '}complete`, () => {
      assert.equal(withBlocks(sizeBytes, blocks).complete, complete);
    });
  }

  it('counts the bytes of a span that are there', () => {
    const map = withBlocks(SIZE, [1, 2, 5]);
    assert.equal(map.presentBytes({ start: 0, end: SIZE }), 2 * B + 100);
    assert.equal(map.presentBytes({ start: 2 * B, end: 4 * B }), B);
    assert.equal(map.presentBytes({ start: 3 * B, end: 3 * B }), 0);
  });
});

describe('planSpan()', () => {
  type Row = readonly [
    blocks: readonly number[],
    underWay: readonly Span[],
    offset: number,
    wantedEnd: number,
    atLeastBytes: number,
    span: Span,
  ];
  const span = (first: number, end: number): Span => ({ start: first * B, end: Math.min(end * B, SIZE) });
  const ROWS: readonly Row[] = [
    [[], [], 10, 20, B, span(0, 1)],
    [[], [], B - 1, B + 1, B, span(0, 2)],
    [[], [], 0, SIZE, B, span(0, 6)],
    [[], [], 3 * B + 1, 3 * B + 2, 2 * B, span(3, 5)],
    [[], [], 5 * B + 1, SIZE, 16 * B, span(5, 6)],
    [[2], [], 10, SIZE, B, span(0, 2)],
    [[1], [], 0, 10, 8 * B, span(0, 1)],
    [[], [span(2, 4)], 0, SIZE, B, span(0, 2)],
    [[], [span(0, 2)], 2 * B, SIZE, B, span(2, 6)],
    [[4], [span(0, 1), span(5, 6)], 2 * B + 5, SIZE, B, span(2, 4)],
  ];
  for (const [blocks, underWay, offset, wantedEnd, atLeastBytes, expected] of ROWS) {
    it(`fetches ${expected.start}..${expected.end} for ${offset}..${wantedEnd} with blocks ${blocks}`, () => {
      const map = withBlocks(SIZE, blocks);
      assert.deepEqual(planSpan(map, underWay, { offset, wantedEnd, atLeastBytes }), expected);
    });
  }
});
