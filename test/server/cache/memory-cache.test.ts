import assert from 'node:assert/strict';
import { bundleCacheSuite } from '../../../conformance/cache/bundle-cache-suite.ts';
import { MemoryBundleCache } from '../../../server/cache/memory-cache.ts';

const SIGNAL = new AbortController().signal;

bundleCacheSuite('in process', async (limits) => {
  let nowMs = 1_000_000;
  const cache = new MemoryBundleCache({ ...limits, nowMs: () => nowMs });
  return {
    handles: [cache, cache],
    async expire() {
      nowMs += limits.ttlMs;
    },
    close: () => cache.close(),
  };
});

describe('MemoryBundleCache', () => {
  it('keeps what is used and drops what is not', async () => {
    const cache = new MemoryBundleCache({ maxBytes: 4_000, maxValueBytes: 1_000, ttlMs: 1_000 });
    for (const key of ['a', 'b', 'c']) await cache.put(key, new Uint8Array(1_000), SIGNAL);
    await cache.get('a', SIGNAL);
    await cache.put('d', new Uint8Array(1_000), SIGNAL);
    assert.equal(await cache.get('b', SIGNAL), undefined);
    assert.ok((await cache.get('a', SIGNAL)) !== undefined);
  });

  it('keeps nothing with maxBytes 0, and counts back to nothing', async () => {
    const none = new MemoryBundleCache({ maxBytes: 0, maxValueBytes: 1_000, ttlMs: 1_000 });
    await none.put('a', new Uint8Array(0), SIGNAL);
    assert.equal(await none.get('a', SIGNAL), undefined);
    assert.equal(none.sizeBytes, 0);
  });

  it('counts the cost of many empty values', async () => {
    const cache = new MemoryBundleCache({ maxBytes: 10_000, maxValueBytes: 1_000, ttlMs: 1_000 });
    for (let n = 0; n < 1_000; n++) await cache.put(`key${n}`, new Uint8Array(0), SIGNAL);
    assert.ok(cache.sizeBytes <= 10_000 && cache.sizeBytes > 5_000);
  });
});
