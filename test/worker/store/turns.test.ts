import assert from 'node:assert/strict';
import { Turns } from '../../../worker/store/turns.ts';

describe('Turns', () => {
  const rows: readonly (readonly [afterMs: number, isOver: boolean])[] = [
    [0, false],
    [9.9, false],
    [10, true],
    [5000, true],
  ];
  for (const [afterMs, isOver] of rows) {
    it(`${isOver ? 'are over' : 'go on'} after ${afterMs} ms`, () => {
      let nowMs = 100;
      const turns = new Turns(() => nowMs);
      nowMs += afterMs;
      assert.equal(turns.isOver, isOver);
    });
  }

  it('begin anew in the next turn, after what was waiting for one', async () => {
    let nowMs = 0;
    const turns = new Turns(() => nowMs);
    nowMs = 50;
    let had = false;
    setImmediate(() => {
      had = true;
    });
    await turns.next();
    assert.equal(had, true);
    assert.equal(turns.isOver, false);
    nowMs = 60;
    assert.equal(turns.isOver, true);
  });
});
