import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { bundleCacheSuite } from '../../conformance/cache/bundle-cache-suite.ts';
import { RedisBundleCache, type RedisCacheOptions } from '../../server/cache/redis-cache.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';

const SIGNAL = new AbortController().signal;
const LIMITS = { maxBytes: 4 << 20, maxValueBytes: 2 << 20, ttlMs: 60_000 };

describe('the bundle cache on Redis', function () {
  this.timeout(60_000);
  let server: RedisServer;
  let redis: Redis;
  const opened: RedisBundleCache[] = [];
  const openCache = (options: Partial<RedisCacheOptions> = {}) => {
    const cache = new RedisBundleCache({ url: server.url, ...LIMITS, ...options });
    opened.push(cache);
    return cache;
  };
  before(async () => {
    server = await startRedis();
    redis = new Redis(server.url, { lazyConnect: true });
    redis.on('error', () => undefined);
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((cache) => cache.close()));
    server.thaw();
    await server.start();
    await redis.flushall();
  });
  after(async () => {
    redis?.disconnect();
    await server?.destroy();
  });

  bundleCacheSuite('Redis', async (limits) => {
    await redis.flushall();
    const handles = [openCache(limits), openCache(limits)] as const;
    return {
      handles,
      async expire() {
        // The sorted index and the sum stay; everything that holds a value must go by itself.
        while ((await redis.keys('*')).some((key) => /:(head|chunk):/.test(key)));
      },
      async close() {
        await Promise.all(handles.map((cache) => cache.close()));
      },
    };
  });

  it('gives every value a time to live', async () => {
    await openCache().put('key', randomBytes(1 << 20), SIGNAL);
    const keys = (await redis.keys('*')).filter((key) => /:(head|chunk):/.test(key));
    assert.equal(keys.length, 3);
    for (const key of keys) assert.ok((await redis.pttl(key)) > 0, key);
  });

  it('takes a value that lacks a chunk, or was changed, for a miss', async () => {
    const cache = openCache();
    for (const damage of ['del', 'set'] as const) {
      await cache.put('key', randomBytes(1 << 20), SIGNAL);
      const [chunk] = (await redis.keys('*')).filter((key) => /:chunk:.*:1$/.test(key));
      assert.ok(chunk !== undefined);
      if (damage === 'del') await redis.del(chunk);
      else await redis.set(chunk, randomBytes(512 * 1024));
      assert.equal(await cache.get('key', SIGNAL), undefined);
    }
  });

  for (const text of ['', 'x', '10 1 zz prefix', '9999999999 4096 '.padEnd(80, 'a')]) {
    it(`takes a head of ${JSON.stringify(text.slice(0, 20))} for a miss`, async () => {
      const cache = openCache();
      await cache.put('key', randomBytes(10), SIGNAL);
      const [head] = (await redis.keys('*')).filter((key) => key.includes(':head:'));
      await redis.set(head ?? '', text);
      assert.equal(await cache.get('key', SIGNAL), undefined);
    });
  }

  it('makes the value itself when the one that has the lock is gone', async () => {
    const gone = openCache();
    const stuck = gone.fill('key', () => new Promise<Uint8Array>(() => undefined), SIGNAL);
    stuck.catch(() => undefined);
    while ((await redis.keys('*lock*')).length === 0);
    const bytes = randomBytes(8);
    const heir = openCache({ lockMs: 200 });
    assert.ok(bytes.equals(await heir.fill('key', async () => bytes, SIGNAL)));
  });

  it('leaves no lock behind', async () => {
    const cache = openCache();
    await cache.fill('good', async () => randomBytes(8), SIGNAL);
    await assert.rejects(cache.fill('bad', () => Promise.reject(new Error('no')), SIGNAL));
    assert.deepEqual(await redis.keys('*lock*'), []);
  });

  const DEAD: readonly (readonly [what: string, kill: () => void | Promise<void>])[] = [
    ['is stopped', () => server.stop()],
    ['hangs', () => server.freeze()],
  ];
  for (const [what, kill] of DEAD) {
    it(`answers, soon, when Redis ${what}`, async () => {
      const errors: unknown[] = [];
      let nowMs = 1;
      const cache = openCache({
        commandTimeoutMs: 100,
        nowMs: () => nowMs,
        onError: (error) => errors.push(error),
      });
      const bytes = randomBytes(8);
      await cache.put('key', bytes, SIGNAL);
      assert.ok((await cache.get('key', SIGNAL)) !== undefined);
      await kill();
      const startMs = performance.now();
      for (let n = 0; n < 20; n++) {
        assert.equal(await cache.get('key', SIGNAL), undefined);
        await cache.put('key', bytes, SIGNAL);
        assert.ok(bytes.equals(await cache.fill(`key${n}`, async () => bytes, SIGNAL)));
      }
      // Two time-outs open the circuit, and what comes after costs nothing; without it there would be sixty.
      assert.ok(performance.now() - startMs < 5_000);
      assert.ok(errors.length > 0);
      server.thaw();
      await server.start();
      // Once the circuit lets calls through again, it serves as before.
      let found: Uint8Array | undefined;
      for (let attempt = 0; attempt < 200 && found === undefined; attempt++) {
        nowMs += 10_000;
        await redis.ping().catch(() => undefined);
        await cache.put('again', bytes, SIGNAL);
        found = await cache.get('again', SIGNAL);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.ok(found !== undefined && bytes.equals(found));
    });
  }

  it('works where no Redis ever was', async () => {
    const cache = openCache({ url: 'redis://127.0.0.1:1' });
    const bytes = randomBytes(8);
    assert.ok(bytes.equals(await cache.fill('key', async () => bytes, SIGNAL)));
  });
});
