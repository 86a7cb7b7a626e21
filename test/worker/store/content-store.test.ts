import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { ContentStore, type FsyncPolicy } from '../../../worker/store/content-store.ts';
import { StoreError } from '../../../worker/store/store-error.ts';
import { sweep } from '../../../worker/store/sweep.ts';
import { skip } from '../../support/skip.ts';

const signal = new AbortController().signal;
const small = Buffer.from('a content\n');
const large = randomBytes(700_000);

async function* chunks(bytes: Uint8Array, sizeBytes = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

const kind = (wanted: string) => (error: unknown) =>
  error instanceof StoreError && error.fault.kind === wanted;

describe('ContentStore', () => {
  let root = '';
  let store: ContentStore;

  beforeEach(async () => {
    root = mkdtempSync('/tmp/sl-store-');
    store = await ContentStore.open(root, { fsync: 'none' });
  });
  afterEach(() => {
    store.close();
    rmSync(root, { recursive: true, force: true });
  });

  const tmpFiles = () => readdirSync(join(root, 'contents/tmp'));

  const policies: readonly FsyncPolicy[] = ['none', 'image', 'content'];
  for (const fsync of policies) {
    for (const [name, content, streamed] of [
      ['a small content at hand', small, false],
      ['a small stream', small, true],
      ['a large content at hand', large, false],
      ['a large stream', large, true],
    ] as const) {
      it(`takes in ${name}, fsync ${fsync}`, async () => {
        const other = await ContentStore.open(root, { fsync });
        const digest = digestOf(content);
        assert.equal(other.has(digest), false);
        assert.equal(other.sizeOf(digest), undefined);
        await other.write(digest, content.byteLength, streamed ? chunks(content) : content, signal);
        assert.deepEqual(readFileSync(other.pathOf(digest)), content);
        assert.equal(other.sizeOf(digest), content.byteLength);
        assert.equal(statSync(other.pathOf(digest)).mode & 0o777, 0o444);
        assert.equal(await other.rehash(digest, signal), true);
        assert.deepEqual(tmpFiles(), []);
      });
    }
  }

  const refusals: readonly (readonly [string, Uint8Array, number, boolean, string])[] = [
    ['other bytes', Buffer.from('A content\n'), small.byteLength, false, 'digest-mismatch'],
    ['other bytes, streamed', Buffer.from('A content\n'), small.byteLength, true, 'digest-mismatch'],
    ['fewer bytes', small.subarray(1), small.byteLength, false, 'size-mismatch'],
    ['fewer bytes, streamed', small.subarray(1), small.byteLength, true, 'size-mismatch'],
    ['more bytes', Buffer.concat([small, small]), small.byteLength, false, 'size-mismatch'],
    ['more bytes, streamed', Buffer.concat([small, small]), small.byteLength, true, 'size-mismatch'],
    ['a wrong size of the right bytes', small, small.byteLength + 1, false, 'size-mismatch'],
    ['a wrong size of the right stream', small, small.byteLength + 1, true, 'size-mismatch'],
    ['nothing', new Uint8Array(0), small.byteLength, false, 'size-mismatch'],
    ['an empty stream', new Uint8Array(0), small.byteLength, true, 'size-mismatch'],
  ];
  for (const [name, bytes, sizeBytes, streamed, wanted] of refusals) {
    it(`refuses ${name}: nothing becomes visible`, async () => {
      const digest = digestOf(small);
      await assert.rejects(
        store.write(digest, sizeBytes, streamed ? chunks(bytes) : bytes, signal),
        kind(wanted),
      );
      assert.equal(store.has(digest), false);
      assert.deepEqual(tmpFiles(), []);
    });
  }

  it('leaves a stream alone whose content is here already', async () => {
    const digest = digestOf(small);
    await store.write(digest, small.byteLength, small, signal);
    let read = false;
    async function* never(): AsyncGenerator<Uint8Array> {
      read = true;
      yield small;
    }
    await store.write(digest, small.byteLength, never(), signal);
    assert.equal(read, false);
  });

  it('stops a stream that goes on beyond its size', async () => {
    let given = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        given += 1;
        yield Buffer.alloc(1000);
      }
    }
    await assert.rejects(store.write(digestOf(small), 2500, endless(), signal), kind('size-mismatch'));
    assert.equal(given, 3);
  });

  it('keeps nothing of an aborted write', async () => {
    const abort = new AbortController();
    async function* half(): AsyncGenerator<Uint8Array> {
      yield large.subarray(0, 1000);
      abort.abort(new Error('enough'));
      yield large.subarray(1000);
    }
    await assert.rejects(store.write(digestOf(large), large.byteLength, half(), abort.signal), /enough/);
    assert.equal(store.has(digestOf(large)), false);
    assert.deepEqual(tmpFiles(), []);
  });

  it('clears what an earlier process left half-written, and nothing else', async () => {
    await store.write(digestOf(small), small.byteLength, small, signal);
    writeFileSync(join(root, 'contents/tmp/7'), 'half');
    const next = await ContentStore.open(root, { fsync: 'none' });
    assert.deepEqual(tmpFiles(), []);
    assert.equal(next.has(digestOf(small)), true);
  });

  it('two writers of one content at once are both content', async () => {
    const digest = digestOf(large);
    await Promise.all([1, 2].map(() => store.write(digest, large.byteLength, chunks(large), signal)));
    assert.deepEqual(readFileSync(store.pathOf(digest)), large);
  });

  it('lets others have turns while it takes in many small contents', async () => {
    let turns = 0;
    let done = false;
    const count = (): void => {
      turns += 1;
      if (!done) setImmediate(count);
    };
    setImmediate(count);
    for (let n = 0; n < 2000; n += 1) {
      const content = Buffer.from(`content ${n}`);
      await store.write(digestOf(content), content.byteLength, content, signal);
    }
    done = true;
    assert.ok(turns > 0, 'nobody had a turn');
    assert.equal((await store.usage(signal)).contents, 2000);
    assert.deepEqual(tmpFiles(), []);
  });

  describe('usage()', () => {
    const put = (content: Buffer) => store.write(digestOf(content), content.byteLength, content, signal);
    const numbered = (row: number) => Buffer.from(`content ${row}`);

    it('counts whole blocks of the disk', async () => {
      await put(small);
      await put(large);
      assert.deepEqual(await store.usage(signal), { contents: 2, bytes: 4096 + 171 * 4096 });
    });

    it('follows what comes and goes, counted before or not', async () => {
      await put(small);
      assert.equal((await store.usage(signal)).contents, 1);
      await put(large);
      await put(large);
      store.delete(digestOf(small));
      store.delete(digestOf(small));
      assert.deepEqual(await store.usage(signal), { contents: 1, bytes: 171 * 4096 });
    });

    it('counts once what two writers bring at once', async () => {
      await store.usage(signal);
      await Promise.all(
        [1, 2, 3].map(() => store.write(digestOf(large), large.byteLength, chunks(large), signal)),
      );
      assert.deepEqual(await store.usage(signal), { contents: 1, bytes: 171 * 4096 });
      assert.deepEqual(tmpFiles(), []);
    });

    it('is exact for what comes and goes while it counts', async () => {
      for (let row = 0; row < 600; row += 1) await put(numbered(row));
      const next = await ContentStore.open(root, { fsync: 'none' });
      const counting = next.usage(signal);
      for (let row = 0; row < 600; row += 1) {
        if (row % 3 === 0) next.delete(digestOf(numbered(row)));
        const content = numbered(1000 + row);
        await next.write(digestOf(content), content.byteLength, content, signal);
        if (row % 2 === 0) next.delete(digestOf(content));
      }
      await counting;
      assert.deepEqual(await next.usage(signal), { contents: 700, bytes: 700 * 4096 });
    });

    it('is the same after a restart, and leaves files of other names out', async () => {
      await put(small);
      writeFileSync(join(root, 'contents/sha256/README'), 'not ours');
      writeFileSync(join(store.pathOf(digestOf(small)), '../not-ours'), 'not ours');
      const next = await ContentStore.open(root, { fsync: 'none' });
      assert.deepEqual(await next.usage(signal), { contents: 1, bytes: 4096 });
    });

    it('rejects for who leaves, and when the store is closed meanwhile', async () => {
      await put(small);
      await assert.rejects(store.usage(AbortSignal.abort(new Error('left'))), /left/);
      const counting = store.usage(signal);
      store.close();
      await assert.rejects(counting, /closed/);
    });
  });

  describe('wait()', () => {
    it('fulfils at once with what is here', async () => {
      await store.write(digestOf(small), small.byteLength, small, signal);
      assert.equal(await store.wait(digestOf(small), signal), store.pathOf(digestOf(small)));
    });

    it('wakes every waiter of that content, and no other', async () => {
      const digest = digestOf(small);
      const leaving = new AbortController();
      const waiting = [store.wait(digest, signal), store.wait(digest, signal)];
      const other = store.wait(digestOf('another'), leaving.signal);
      assert.equal(store.isWaitedFor(digest), true);
      await store.write(digest, small.byteLength, small, signal);
      assert.deepEqual(await Promise.all(waiting), [store.pathOf(digest), store.pathOf(digest)]);
      assert.equal(store.isWaitedFor(digest), false);
      leaving.abort(new Error('left'));
      await assert.rejects(other, /left/);
    });

    it('does not wake for a content that was refused', async () => {
      const leaving = new AbortController();
      const waiting = store.wait(digestOf(small), leaving.signal);
      await assert.rejects(store.write(digestOf(small), small.byteLength, Buffer.from('x'), signal));
      leaving.abort(new Error('still waiting'));
      await assert.rejects(waiting, /still waiting/);
    });

    it('ends with the store', async () => {
      const waiting = store.wait(digestOf(small), signal);
      store.close();
      await assert.rejects(waiting, kind('closed'));
      await assert.rejects(store.wait(digestOf(small), signal), kind('closed'));
      await assert.rejects(store.write(digestOf(small), small.byteLength, small, signal), kind('closed'));
    });
  });

  it('tells listeners of what arrives, until they leave', async () => {
    const heard: Digest[] = [];
    const stop = store.onArrival((digest) => heard.push(digest));
    await store.write(digestOf(small), small.byteLength, small, signal);
    await store.write(digestOf(small), small.byteLength, small, signal);
    stop();
    await store.write(digestOf(large), large.byteLength, large, signal);
    assert.deepEqual(heard, [digestOf(small)]);
  });

  it('rehash() finds a damaged file', async () => {
    await store.write(digestOf(small), small.byteLength, small, signal);
    rmSync(store.pathOf(digestOf(small)));
    writeFileSync(store.pathOf(digestOf(small)), 'damaged');
    assert.equal(await store.rehash(digestOf(small), signal), false);
  });

  describe('sweep()', () => {
    it('removes what is not referenced at the moment it is looked at', async () => {
      const contents = Array.from({ length: 50 }, (_, row) => Buffer.from(`content ${row}`));
      for (const content of contents)
        await store.write(digestOf(content), content.byteLength, content, signal);
      const kept = new Set(contents.slice(0, 20).map((content) => digestOf(content)));
      const result = await sweep(store, (digest) => kept.has(digest), signal);
      assert.deepEqual([result.kept, result.removed], [20, 30]);
      assert.equal(result.freedBytes, 30 * 4096);
      for (const [row, content] of contents.entries()) assert.equal(store.has(digestOf(content)), row < 20);
      assert.equal((await store.usage(signal)).contents, 20);
    });

    it('leaves files of other names alone', async () => {
      await store.write(digestOf(small), small.byteLength, small, signal);
      const stray = join(root, 'contents/sha256/README');
      writeFileSync(stray, 'not ours');
      assert.equal((await sweep(store, () => false, signal)).removed, 1);
      assert.equal(existsSync(stray), true);
    });
  });

  describe('on a full disk', () => {
    let disk = '';
    before(function () {
      if (process.getuid?.() !== 0) skip(this, 'mounting a small disk needs root');
      disk = mkdtempSync(join(tmpdir(), 'sl-full-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'starlight-test', disk]);
    });
    after(() => {
      if (disk === '') return;
      execFileSync('umount', [disk]);
      rmSync(disk, { recursive: true });
    });

    it('says so of a small content, and keeps those before it', async () => {
      const full = await ContentStore.open(disk, { fsync: 'none' });
      const taken: Digest[] = [];
      const fill = async (): Promise<void> => {
        for (let n = 0; n < 20; n += 1) {
          const content = Buffer.alloc(50_000, n);
          await full.write(digestOf(content), content.byteLength, content, signal);
          taken.push(digestOf(content));
        }
      };
      await assert.rejects(fill(), kind('no-space'));
      assert.ok(taken.length > 0 && taken.length < 6, `${taken.length} contents on a disk of 256 kB`);
      for (const digest of taken) assert.equal(await full.rehash(digest, signal), true);
      assert.equal((await full.usage(signal)).contents, taken.length);
      assert.deepEqual(readdirSync(join(disk, 'contents/tmp')), []);
      for (const digest of taken) full.delete(digest);
    });

    for (const streamed of [false, true]) {
      it(`says so, keeps what was there, and goes on when there is room (streamed: ${streamed})`, async () => {
        const full = await ContentStore.open(disk, { fsync: 'none' });
        await full.write(digestOf(small), small.byteLength, small, signal);
        const source = () => (streamed ? chunks(large) : large);
        await assert.rejects(
          full.write(digestOf(large), large.byteLength, source(), signal),
          kind('no-space'),
        );
        assert.deepEqual(readdirSync(join(disk, 'contents/tmp')), []);
        assert.equal(full.has(digestOf(small)), true);
        execFileSync('mount', ['-o', 'remount,size=4m', disk]);
        await full.write(digestOf(large), large.byteLength, source(), signal);
        assert.equal(full.has(digestOf(large)), true);
        full.delete(digestOf(large));
        execFileSync('mount', ['-o', 'remount,size=256k', disk]);
      });
    }
  });
});
