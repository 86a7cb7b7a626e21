import assert from 'node:assert/strict';
import { joinParts, type Part, PIECE_BYTES } from '../../../../worker/complete/erofs/pieces.ts';

function part(at: number, length: number, value: number): Part {
  return { at, bytes: new Uint8Array(length).fill(value) };
}

describe('joinParts()', () => {
  const ROWS: readonly (readonly [title: string, parts: readonly Part[], sizeBytes: number])[] = [
    ['nothing', [], 0],
    ['zeros alone', [], PIECE_BYTES * 2 + 5],
    ['a part in the middle of a piece', [part(10, 5, 1)], 100],
    ['parts that touch', [part(0, 5, 1), part(5, 5, 2)], 10],
    ['a part across a border', [part(PIECE_BYTES - 3, 6, 1)], PIECE_BYTES + 10],
    ['a part over several pieces', [part(7, PIECE_BYTES * 3, 1)], PIECE_BYTES * 4],
    ['pieces without a part between', [part(0, 1, 1), part(PIECE_BYTES * 3, 1, 2)], PIECE_BYTES * 3 + 1],
    ['a part that ends with its piece', [part(0, PIECE_BYTES, 1), part(PIECE_BYTES, 1, 2)], PIECE_BYTES + 1],
  ];
  for (const [title, parts, sizeBytes] of ROWS) {
    it(title, () => {
      const expected = Buffer.alloc(sizeBytes);
      for (const { at, bytes } of parts) expected.set(bytes, at);
      const pieces = [...joinParts(parts, sizeBytes)];
      assert.ok(Buffer.concat(pieces).equals(expected));
      assert.ok(pieces.every((piece) => piece.length > 0 && piece.length <= PIECE_BYTES));
    });
  }

  it('takes each part before the next is asked for', () => {
    const scratch = new Uint8Array(4);
    const parts = function* (): Generator<Part> {
      for (let at = 0; at < 3; at += 1) yield { at: at * 4, bytes: scratch.fill(at) };
    };
    const [piece] = [...joinParts(parts(), 12)];
    assert.deepEqual([...(piece ?? [])], [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
  });
});
