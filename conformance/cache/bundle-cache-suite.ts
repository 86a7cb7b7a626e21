import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { BundleCache, BundleCacheLimits } from '../../extensions/starlight/bundle-cache.ts';

const SIGNAL = new AbortController().signal;
const MIB = 1 << 20;

export interface OpenBundleCache {
  /** Two handles on the same store, as two replicas have them; the same twice where there can be only one. */
  readonly handles: readonly [BundleCache, BundleCache];
  /** Makes everything put in so far outlive its time. */
  expire(): Promise<void>;
  close(): Promise<void>;
}

/** What every BundleCache must do. */
export function bundleCacheSuite(
  name: string,
  open: (limits: BundleCacheLimits) => Promise<OpenBundleCache>,
): void {
  describe(`BundleCache: ${name}`, function () {
    this.timeout(30_000);
    let cache: OpenBundleCache | undefined;
    const use = async (limits: Partial<BundleCacheLimits> = {}) => {
      cache = await open({ maxBytes: 16 * MIB, maxValueBytes: 8 * MIB, ttlMs: 3_600_000, ...limits });
      return cache.handles;
    };
    afterEach(async () => {
      await cache?.close();
      cache = undefined;
    });

    for (const sizeBytes of [0, 1, 512 * 1024, 512 * 1024 + 1, 5 * MIB - 3]) {
      it(`gives back ${sizeBytes} bytes`, async () => {
        const [one, two] = await use();
        const bytes = randomBytes(sizeBytes);
        await one.put('key', bytes, SIGNAL);
        assert.deepEqual(Buffer.from((await two.get('key', SIGNAL)) ?? []), bytes);
      });
    }

    it('misses what was never put in, and keys that resemble', async () => {
      const [one] = await use();
      await one.put('key', randomBytes(10), SIGNAL);
      for (const key of ['', 'ke', 'key ', 'KEY', 'key:0'])
        assert.equal(await one.get(key, SIGNAL), undefined);
    });

    it('gives the newest value of a key', async () => {
      const [one, two] = await use();
      await one.put('key', randomBytes(2 * MIB), SIGNAL);
      const newest = randomBytes(MIB);
      await two.put('key', newest, SIGNAL);
      assert.deepEqual(Buffer.from((await one.get('key', SIGNAL)) ?? []), newest);
    });

    it('never mixes what two write under one key at once', async () => {
      const [one, two] = await use();
      const values = Array.from({ length: 6 }, () => randomBytes(MIB + 7));
      await Promise.all(values.map((value, n) => (n % 2 === 0 ? one : two).put('key', value, SIGNAL)));
      const found = await one.get('key', SIGNAL);
      assert.ok(found !== undefined && values.some((value) => value.equals(found)));
    });

    it('does not keep a value above its limit, nor what was there before', async () => {
      const [one] = await use({ maxValueBytes: MIB });
      await one.put('key', randomBytes(MIB + 1), SIGNAL);
      assert.equal(await one.get('key', SIGNAL), undefined);
      await one.put('key', randomBytes(MIB), SIGNAL);
      assert.ok((await one.get('key', SIGNAL)) !== undefined);
    });

    it('makes room: the newest stay, all together never above maxBytes', async () => {
      const [one] = await use({ maxBytes: 4 * MIB, maxValueBytes: 2 * MIB });
      for (let n = 0; n < 10; n++) await one.put(`key${n}`, randomBytes(MIB), SIGNAL);
      const kept: number[] = [];
      for (let n = 0; n < 10; n++) if ((await one.get(`key${n}`, SIGNAL)) !== undefined) kept.push(n);
      assert.ok(kept.length >= 3 && kept.length <= 4, `kept ${kept.join()}`);
      assert.equal(kept.at(-1), 9);
      assert.equal(kept[0], 10 - kept.length);
    });

    it('forgets after its time, and can keep the same again', async () => {
      const [one] = await use({ ttlMs: 300 });
      const bytes = randomBytes(MIB);
      await one.put('key', bytes, SIGNAL);
      await cache?.expire();
      assert.equal(await one.get('key', SIGNAL), undefined);
      await one.put('key', bytes, SIGNAL);
      assert.ok((await one.get('key', SIGNAL)) !== undefined);
    });

    it('fills once for twenty at once', async () => {
      const [one, two] = await use();
      const bytes = randomBytes(MIB);
      let made = 0;
      const make = async () => {
        made++;
        await new Promise((resolve) => setImmediate(resolve));
        return bytes;
      };
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) => (n % 2 === 0 ? one : two).fill('key', make, SIGNAL)),
      );
      assert.equal(made, 1);
      for (const answer of answers) assert.ok(bytes.equals(answer));
      assert.ok(bytes.equals(await two.fill('key', make, SIGNAL)));
      assert.equal(made, 1);
    });

    it('hands on a failure to make, keeps nothing of it, and makes anew', async () => {
      const [one, two] = await use();
      const failure = new Error('cannot be made');
      await assert.rejects(
        one.fill('key', () => Promise.reject(failure), SIGNAL),
        failure,
      );
      const bytes = randomBytes(9);
      assert.ok(bytes.equals(await two.fill('key', async () => bytes, SIGNAL)));
    });

    it('answers with what is too large to be kept', async () => {
      const [one] = await use({ maxValueBytes: 100 });
      const bytes = randomBytes(101);
      assert.ok(bytes.equals(await one.fill('key', async () => bytes, SIGNAL)));
    });

    it('goes on for those who stay when one leaves, and stops when all have left', async () => {
      const [one] = await use();
      const leaving = [new AbortController(), new AbortController()];
      let shared: AbortSignal | undefined;
      let started: () => void = () => undefined;
      const begun = new Promise<void>((resolve) => {
        started = resolve;
      });
      const make = (signal: AbortSignal) =>
        new Promise<Uint8Array>((_, reject) => {
          shared = signal;
          signal.addEventListener('abort', () => reject(signal.reason));
          started();
        });
      const waiting = leaving.map((controller) => one.fill('key', make, controller.signal));
      const ends = waiting.map((promise) => assert.rejects(promise, /left/));
      await begun;
      leaving[0]?.abort(new Error('left first'));
      await ends[0];
      assert.equal(shared?.aborted, false);
      leaving[1]?.abort(new Error('left last'));
      await ends[1];
      assert.equal(shared?.aborted, true);
      const bytes = randomBytes(5);
      assert.ok(bytes.equals(await one.fill('key', async () => bytes, SIGNAL)));
    });

    it('does nothing for a caller who has left', async () => {
      const [one] = await use();
      await assert.rejects(one.get('key', AbortSignal.abort()), { name: 'AbortError' });
      await assert.rejects(one.put('key', randomBytes(1), AbortSignal.abort()), { name: 'AbortError' });
      await assert.rejects(
        one.fill('key', async () => randomBytes(1), AbortSignal.abort()),
        { name: 'AbortError' },
      );
    });
  });
}
