import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { DownloadError } from '../../../worker/download/download-error.ts';
import {
  EXCESS_LIMIT_BYTES,
  type PayloadItem,
  storePayload,
  storePayloadStream,
} from '../../../worker/download/payload.ts';
import { ContentStore } from '../../../worker/store/content-store.ts';

const signal = new AbortController().signal;
const one = Buffer.from('the first content');
const two = randomBytes(300_000);
const both = Buffer.concat([one, Buffer.alloc(495), two, Buffer.alloc(100)]);
const item = (bytes: Uint8Array, innerOffset: number): PayloadItem => ({
  digest: digestOf(bytes),
  sizeBytes: bytes.byteLength,
  innerOffset,
});
const items = [item(one, 0), item(two, one.byteLength + 495)];
const bomb = gzipSync(Buffer.concat([one, Buffer.alloc(EXCESS_LIMIT_BYTES + 1)]));

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 1000) yield bytes.subarray(at, at + 1000);
}

for (const streamed of [false, true]) {
  describe(streamed ? 'storePayloadStream()' : 'storePayload()', () => {
    let root = '';
    let store: ContentStore;
    beforeEach(async () => {
      root = mkdtempSync('/tmp/sl-payload-');
      store = await ContentStore.open(root, { fsync: 'none' });
    });
    afterEach(() => rmSync(root, { recursive: true }));

    const put = (
      bytes: Uint8Array,
      wanted: readonly PayloadItem[],
      encoding: 'gzip-member' | 'zstd' = 'gzip-member',
    ) =>
      streamed
        ? storePayloadStream(encoding, chunks(bytes), wanted, store, signal)
        : storePayload(encoding, bytes, wanted, store, signal);

    const good: readonly (readonly [string, Uint8Array, readonly PayloadItem[], 'gzip-member' | 'zstd'])[] = [
      ['one member with several contents', gzipSync(both), items, 'gzip-member'],
      ['contents named in another order', gzipSync(both), items.toReversed(), 'gzip-member'],
      [
        'several members',
        Buffer.concat([gzipSync(one), gzipSync(both.subarray(one.length))]),
        items,
        'gzip-member',
      ],
      ['only one of the contents', gzipSync(both), items.slice(1), 'gzip-member'],
      ['zstd', zstdCompressSync(both), items, 'zstd'],
    ];
    for (const [name, bytes, wanted, encoding] of good) {
      it(`stores ${name}`, async () => {
        assert.deepEqual(await put(bytes, wanted, encoding), []);
        for (const { digest } of wanted) assert.equal(store.has(digest), true);
        assert.deepEqual(readFileSync(store.pathOf(digestOf(two))), two);
      });
    }

    const flipped = gzipSync(both);
    flipped[flipped.length >> 1] = (flipped[flipped.length >> 1] ?? 0) ^ 1;
    const [first, second] = items.map(({ digest }) => digest);
    const bad: readonly (readonly [
      string,
      Uint8Array,
      readonly PayloadItem[],
      readonly (string | undefined)[],
    ])[] = [
      ['no gzip', both, items, [first, second]],
      ['nothing', new Uint8Array(0), items, [first, second]],
      ['the wrong encoding', zstdCompressSync(both), items, [first, second]],
      ['a payload that ends early', gzipSync(both.subarray(0, 1000)), items, [second]],
      ['a wrong place', gzipSync(both), [item(one, 1), items[1] ?? item(two, 0)], [first]],
      [
        'another content',
        gzipSync(Buffer.concat([Buffer.from('The first content'), both.subarray(one.length)])),
        items,
        [first],
      ],
    ];
    for (const [name, bytes, wanted, refused] of bad) {
      it(`refuses ${name}, and keeps what is right`, async () => {
        assert.deepEqual([...(await put(bytes, wanted))].sort(), [...refused].sort());
        for (const { digest } of wanted) assert.equal(store.has(digest), !refused.includes(digest));
      });
    }

    it('refuses what a flipped bit spoils', async () => {
      assert.ok((await put(flipped, items)).includes(digestOf(two)));
      assert.equal(store.has(digestOf(two)), false);
    });

    it('stops at a bomb', async () => {
      await put(bomb, items.slice(0, 1)); // what came before the excess may be kept: it was verified
      await put(gzipSync(Buffer.alloc(40_000_000)), items.slice(0, 1));
      if (!streamed) assert.equal(store.has(digestOf(one)), false);
    });
  });
}

describe('storePayloadStream(), the wire', () => {
  it('passes a cut on', async () => {
    const root = mkdtempSync('/tmp/sl-payload-');
    const store = await ContentStore.open(root, { fsync: 'none' });
    async function* cut(): AsyncGenerator<Uint8Array> {
      yield gzipSync(both).subarray(0, 5000);
      throw new DownloadError('unreachable', 'cut');
    }
    const storing = storePayloadStream('gzip-member', cut(), items, store, signal);
    await assert.rejects(storing, (error) => error instanceof DownloadError && error.kind === 'unreachable');
    assert.equal(store.has(digestOf(two)), false);
    rmSync(root, { recursive: true });
  });
});
