import assert from 'node:assert/strict';
import { readStart, readWhole } from '../../../schemas/body/read-body.ts';

/** Pieces, and how many of them were taken. */
function body(...pieces: readonly string[]): AsyncIterable<Uint8Array> & { taken: number } {
  return {
    taken: 0,
    async *[Symbol.asyncIterator]() {
      for (const piece of pieces) {
        this.taken += 1;
        yield Buffer.from(piece);
      }
    },
  };
}

const rows: readonly (readonly [pieces: string[], limitBytes: number, whole: string | undefined])[] = [
  [['ab', 'c'], 4, 'abc'],
  [['ab', 'c'], 3, 'abc'],
  [[], 0, ''],
  [['ab', 'c'], 2, undefined],
  [['abc'], 2, undefined],
  [['a'], 0, undefined],
];

describe('readWhole()', () => {
  for (const [pieces, limitBytes, whole] of rows) {
    it(`${JSON.stringify(pieces)} within ${limitBytes}`, async () => {
      const read = readWhole(body(...pieces), limitBytes, () => new RangeError('too large'));
      if (whole === undefined) await assert.rejects(read, RangeError);
      else assert.equal((await read).toString(), whole);
    });
  }

  it('takes no more once it is too large', async () => {
    const endless = body('aa', 'aa', 'aa', 'aa');
    await assert.rejects(readWhole(endless, 3, () => new RangeError('too large')));
    assert.equal(endless.taken, 2);
  });
});

describe('readStart()', () => {
  for (const [pieces, limitBytes] of rows) {
    it(`${JSON.stringify(pieces)} within ${limitBytes}`, async () => {
      assert.equal(await readStart(body(...pieces), limitBytes), pieces.join('').slice(0, limitBytes));
    });
  }

  it('takes no more once it has enough', async () => {
    const endless = body('aa', 'aa', 'aa', 'aa');
    assert.equal(await readStart(endless, 4), 'aaaa');
    assert.equal(endless.taken, 2);
  });
});
