import assert from 'node:assert/strict';
import { Spin } from '../../../../worker/filesystem/kernel/spin.ts';

function spins(spin: Spin, times: number, outcome: 'found' | 'missed'): number {
  let count = 0;
  for (let time = 0; time < times; time++) {
    if (!spin.worthwhile()) continue;
    count++;
    spin[outcome]();
  }
  return count;
}

describe('Spin', () => {
  it('goes on while it brings something', () => assert.equal(spins(new Spin(), 1_000, 'found'), 1_000));

  it('is given up when it brings nothing, but for a trial now and then', () => {
    assert.equal(spins(new Spin(), 1_000, 'missed'), 8 + 62);
  });

  it('begins again when a trial succeeds', () => {
    const spin = new Spin();
    spins(spin, 1_000, 'missed');
    const regained = spins(spin, 1_000, 'found');
    assert.ok(regained > 980, `${regained}`);
  });
});
