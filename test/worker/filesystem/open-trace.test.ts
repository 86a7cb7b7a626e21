import assert from 'node:assert/strict';
import { OpenTrace } from '../../../worker/filesystem/open-trace.ts';

describe('OpenTrace', () => {
  it('tells first opens from later ones, at the edges of words', () => {
    const trace = new OpenTrace(65);
    for (const inode of [0, 31, 32, 63, 64]) assert.equal(trace.first(inode), true, `${inode}`);
    for (const inode of [0, 31, 32, 63, 64]) assert.equal(trace.first(inode), false, `${inode}`);
    for (const inode of [1, 30, 33, 62]) assert.equal(trace.first(inode), true, `${inode}`);
  });

  it('is shared by way of its buffer, and begins anew for all', () => {
    const trace = new OpenTrace(10);
    const other = new OpenTrace(trace.buffer);
    assert.equal(trace.first(3), true);
    assert.equal(other.first(3), false);
    trace.restart();
    assert.equal(other.first(3), true);
  });
});
