import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { BlobStore } from '../../../server/mirror/blob-store.ts';
import { type MirrorCounters, mirrorCounters } from '../../../server/mirror/counters.ts';
import { Space } from '../../../server/mirror/space.ts';
import { type Digest, digestHex, digestOf } from '../../../schemas/oci/digest.ts';
import { pattern, sha256 } from './origin.ts';

const PAGE = 4096;

describe('BlobStore', () => {
  let dir: string;
  let counters: MirrorCounters;
  let space: Space;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'starlight-store-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  async function opened(maxBytes = 1 << 20): Promise<BlobStore> {
    counters = mirrorCounters();
    space = new Space(maxBytes, () => {
      counters.evicted += 1;
    });
    return await BlobStore.open({ dir, space, counters, log: { warn: () => undefined }, nowMs: Date.now });
  }

  const fileOf = (digest: Digest): string =>
    join(dir, digest.slice(0, 6), digestHex(digest).slice(0, 2), digestHex(digest));

  async function put(store: BlobStore, bytes: Buffer, digest = sha256(bytes)): Promise<Digest> {
    await store.put(digest, bytes);
    return digest;
  }

  it('gives back what was put, also after a restart, and leaves nothing beside it', async () => {
    const bytes = pattern(10_000);
    const digest = await put(await opened(), bytes);
    const long = await put(await opened(), bytes, digestOf(bytes, 'sha512'));
    const store = await opened();
    assert.deepEqual(Buffer.from((await store.read(digest)) ?? []), bytes);
    assert.deepEqual(Buffer.from((await store.read(long)) ?? []), bytes);
    assert.deepEqual(await readdir(join(dir, 'partial')), []);
    assert.equal(space.usedBytes, 2 * 3 * PAGE);
  });

  it('forgets what was being written when it was killed', async () => {
    await opened();
    await writeFile(join(dir, 'partial', 'x'), 'half of something');
    const store = await opened();
    assert.deepEqual(await readdir(join(dir, 'partial')), []);
    assert.equal(store.has(sha256('half of something')), false);
  });

  const DAMAGE: readonly (readonly [string, (file: string) => Promise<void>])[] = [
    [
      'a flipped byte',
      async (file) => {
        const bytes = await readFile(file);
        bytes[5000] = (bytes[5000] ?? 0) ^ 1;
        await writeFile(file, bytes);
      },
    ],
    [
      'a flipped byte and an old time of change',
      async (file) => {
        const bytes = await readFile(file);
        bytes[0] = (bytes[0] ?? 0) ^ 1;
        await writeFile(file, bytes);
        await utimes(file, 1, 1);
      },
    ],
    ['a missing end', async (file) => writeFile(file, (await readFile(file)).subarray(0, 9_000))],
    ['no bytes at all', (file) => writeFile(file, '')],
    ['no file', (file) => rm(file)],
    [
      'another file in its place',
      async (file) => {
        await rm(file);
        await writeFile(file, pattern(10_000, 2));
      },
    ],
  ];
  for (const restart of [false, true]) {
    for (const [title, damage] of DAMAGE) {
      it(`takes ${title} for a miss ${restart ? 'after a restart' : 'while it runs'}, and may be put again`, async () => {
        let store = await opened();
        const bytes = pattern(10_000);
        const digest = await put(store, bytes);
        assert.ok(await store.read(digest));
        await damage(fileOf(digest));
        if (restart) store = await opened();
        assert.equal(await store.read(digest), undefined);
        await store.settled();
        assert.deepEqual(await readdir(dirname(fileOf(digest))), []);
        assert.equal(space.usedBytes, 0);
        await put(store, bytes);
        assert.deepEqual(Buffer.from((await store.read(digest)) ?? []), bytes);
      });
    }
  }

  it('passes over what is not its own', async () => {
    await opened();
    await mkdir(join(dir, 'sha256', 'ab'), { recursive: true });
    await writeFile(join(dir, 'sha256', 'ab', 'note'), 'x');
    await writeFile(join(dir, 'sha256', 'ab', 'c'.repeat(64)), 'of another shard');
    const store = await opened();
    assert.equal(store.has(`sha256:${'c'.repeat(64)}` as Digest), false);
    assert.equal(space.usedBytes, 0);
  });

  it('evicts the least recently used, and after a restart too', async () => {
    let store = await opened(3 * PAGE);
    const digests: Digest[] = [];
    for (const seed of [1, 2, 3]) digests.push(await put(store, pattern(PAGE, seed)));
    for (const [at, digest] of digests.entries()) await utimes(fileOf(digest), 1000 - at, 1);
    store = await opened(2 * PAGE);
    await store.settled();
    assert.deepEqual(
      digests.map((digest) => store.has(digest)),
      [true, true, false],
    );
    assert.equal((await readdir(dirname(fileOf(digests[2] ?? (digests[0] as Digest))))).length, 0);
    await store.read(digests[1] as Digest);
    await store.read(digests[0] as Digest);
    await put(store, pattern(PAGE, 4));
    assert.deepEqual(
      digests.map((digest) => store.has(digest)),
      [true, false, false],
    );
  });

  it('never evicts what is in use', async () => {
    const store = await opened(2 * PAGE);
    const first = await put(store, pattern(PAGE, 1));
    const blob = await store.take(first);
    const second = await put(store, pattern(PAGE, 2));
    const third = await put(store, pattern(PAGE, 3));
    assert.deepEqual(
      [first, second, third].map((digest) => store.has(digest)),
      [true, false, true],
    );
    const chunks = await Array.fromAsync(blob?.stream(0, PAGE) ?? []);
    assert.deepEqual(Buffer.concat(chunks as Buffer[]), pattern(PAGE, 1));
  });

  it('does not keep what has no room, and holds no room for it', async () => {
    const store = await opened(PAGE);
    const first = await put(store, pattern(PAGE, 1));
    const blob = await store.take(first);
    const second = await put(store, pattern(PAGE, 2));
    assert.equal(store.has(second), false);
    assert.equal(space.usedBytes, PAGE);
    await blob?.close();
  });
});
