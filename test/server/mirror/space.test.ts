import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Space } from '../../../server/mirror/space.ts';

function withIdle(maxBytes: number, ...keys: readonly string[]): { space: Space; gone: string[] } {
  const gone: string[] = [];
  let evicted = 0;
  const space = new Space(maxBytes, () => {
    evicted += 1;
    assert.equal(evicted, gone.length + 1);
  });
  for (const key of keys) {
    assert.ok(space.reserve(10));
    const evict = () => {
      gone.push(key);
      space.release(10);
    };
    space.offer(key, { sizeBytes: 10, evict });
  }
  return { space, gone };
}

describe('Space', () => {
  it('evicts what fell out of use first, and no more than is needed', () => {
    const { space, gone } = withIdle(30, 'a', 'b', 'c');
    assert.ok(space.reserve(11));
    assert.deepEqual(gone, ['a', 'b']);
    assert.equal(space.usedBytes, 21);
  });

  it('never evicts what is in use, and evicts nothing where that would not do', () => {
    const { space, gone } = withIdle(30, 'a', 'b', 'c');
    space.claim('a');
    assert.equal(space.reserve(21), false);
    assert.deepEqual(gone, []);
    assert.ok(space.reserve(20));
    assert.deepEqual(gone, ['b', 'c']);
  });

  it('takes what was used again for used last', () => {
    const { space, gone } = withIdle(30, 'a', 'b', 'c');
    space.claim('a');
    space.offer('a', { sizeBytes: 10, evict: () => gone.push('a') });
    assert.ok(space.reserve(10));
    assert.deepEqual(gone, ['b']);
  });

  it('trims what was there before its limit was set', () => {
    const { space, gone } = withIdle(100, 'a', 'b', 'c');
    space.count(85);
    space.trim();
    assert.deepEqual(gone, ['a', 'b']);
    assert.equal(space.usedBytes, 95);
  });
});
