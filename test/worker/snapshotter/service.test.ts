import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { status } from '@grpc/grpc-js';
import { failsWith, SnapshotterClient } from '../../../conformance/snapshotter/client.ts';
import { FILTERS_MAX } from '../../../worker/snapshotter/filter.ts';
import { KEY_MAX_BYTES } from '../../../worker/snapshotter/key.ts';
import { LABEL_MAX_BYTES } from '../../../worker/snapshotter/labels.ts';
import { serveSnapshotter } from '../../../worker/snapshotter/serve-snapshotter.ts';
import { SNAPSHOT_REF_LABEL } from '../../../worker/snapshotter/snapshot.ts';
import type { ListeningServer } from '../../../worker/snapshotter/socket-server.ts';
import { SnapshotterHome } from '../../support/snapshotter-home.ts';

describe('serveSnapshotter()', () => {
  let home: SnapshotterHome;
  let socketPath: string;
  let server: ListeningServer | undefined;
  let client: SnapshotterClient;

  beforeEach(async () => {
    home = await SnapshotterHome.open();
    socketPath = join(home.directory, 'run', 's.sock');
    await serve();
    client = new SnapshotterClient({ socketPath, snapshotter: 'starlight', namespace: 'test' });
  });
  afterEach(async () => {
    client.close();
    await server?.close();
    server = undefined;
    await home.close();
  });

  async function serve(): Promise<void> {
    const { snapshotter, log } = home;
    server = await serveSnapshotter({ socketPath, snapshotter, log });
  }

  describe('calls', () => {
    afterEach(() => home.log.assertQuiet());

    type Refusal = readonly [title: string, code: keyof typeof status, call: () => Promise<unknown>];
    const REFUSALS: readonly Refusal[] = [
      ['Prepare without a key', 'INVALID_ARGUMENT', () => client.prepare('', '', {})],
      ['a key with a NUL', 'INVALID_ARGUMENT', () => client.prepare('a\0b', '', {})],
      ['a key too long', 'INVALID_ARGUMENT', () => client.prepare('é'.repeat(KEY_MAX_BYTES / 2 + 1), '', {})],
      ['a parent too long', 'INVALID_ARGUMENT', () => client.view('k', 'p'.repeat(KEY_MAX_BYTES + 1), {})],
      [
        'a label too large',
        'INVALID_ARGUMENT',
        () => client.prepare('k', '', { l: 'x'.repeat(LABEL_MAX_BYTES) }),
      ],
      ['a parent that is not', 'NOT_FOUND', () => client.prepare('k', 'nowhere', {})],
      ['Mounts without a key', 'INVALID_ARGUMENT', () => client.mounts('')],
      ['Mounts of nothing', 'NOT_FOUND', () => client.mounts('nowhere')],
      ['Mounts of a committed one', 'FAILED_PRECONDITION', () => client.mounts('c')],
      ['Commit without a name', 'INVALID_ARGUMENT', () => client.commit('', 'a', {})],
      ['Commit without a key', 'INVALID_ARGUMENT', () => client.commit('x', '', {})],
      ['Commit to a used name', 'ALREADY_EXISTS', () => client.commit('c', 'a', {})],
      ['Remove without a key', 'INVALID_ARGUMENT', () => client.remove('')],
      ['Remove of nothing', 'NOT_FOUND', () => client.remove('nowhere')],
      ['Stat of nothing', 'NOT_FOUND', () => client.stat('nowhere')],
      ['Update without a name', 'INVALID_ARGUMENT', () => client.update('', { labels: {} })],
      ['Update of nothing', 'NOT_FOUND', () => client.update('nowhere', { labels: {} })],
      ['Update of the kind', 'INVALID_ARGUMENT', () => client.update('c', { labels: {} }, ['kind'])],
      ['Usage of nothing', 'NOT_FOUND', () => client.usage('nowhere')],
      ['List by a bad filter', 'INVALID_ARGUMENT', () => Array.fromAsync(client.walk(['name=']))],
      [
        'List by too many filters',
        'INVALID_ARGUMENT',
        () => Array.fromAsync(client.walk(Array(FILTERS_MAX + 1).fill('name'))),
      ],
    ];
    for (const [title, code, call] of REFUSALS) {
      it(`refuse ${title} as ${code}`, async () => {
        await client.prepare('c-active', '', {});
        await client.commit('c', 'c-active', {});
        await client.prepare('a', '', {});
        await assert.rejects(call(), failsWith(code));
        assert.equal((await Array.fromAsync(client.walk([]))).length, 2);
      });
    }

    it('give times to the nanosecond', async () => {
      home.nowNs = 1_795_257_642_662_920_898n;
      await client.prepare('a', '', {});
      assert.equal((await client.stat('a')).createdNs, home.nowNs);
    });

    it('give usage', async () => {
      const [mount] = await client.prepare('a', '', {});
      writeFileSync(join(mount?.source ?? '', 'file'), 'x'.repeat(10_000));
      const { sizeBytes, inodes } = await client.usage('a');
      assert.equal(inodes, 2);
      assert.ok(sizeBytes >= 10_000);
    });

    it('clean up', async () => {
      mkdirSync(join(home.root, 'snapshots', 'stray'));
      await client.cleanup();
      assert.deepEqual(readdirSync(join(home.root, 'snapshots')), []);
    });

    it('stream a list that is larger than one message may be', async () => {
      const labels = Object.fromEntries(
        Array.from({ length: 100 }, (_, index) => [`l${index}`, 'x'.repeat(4000)]),
      );
      for (let index = 0; index < 30; index++) await client.view(`k${index}`, '', labels);
      const names = (await Array.fromAsync(client.walk([]))).map((info) => info.name);
      assert.deepEqual(
        names,
        Array.from({ length: 30 }, (_, index) => `k${index}`),
      );
    });

    it('end a list that nobody reads on', async () => {
      for (let index = 0; index < 250; index++) await client.view(`k${index}`, '', {});
      for await (const info of client.walk([])) {
        assert.equal(info.name, 'k0');
        break;
      }
      assert.equal((await client.stat('k249')).name, 'k249');
    });
  });

  it('logs a fault and reports it as UNKNOWN', async () => {
    const chainId = `sha256:${'a'.repeat(64)}`;
    home.images.available = async () => {
      throw new Error('image store is broken');
    };
    await assert.rejects(
      client.prepare('k', '', { [SNAPSHOT_REF_LABEL]: chainId }),
      (error: Error) => /image store is broken/.test(error.message) && failsWith('UNKNOWN')(error),
    );
    assert.match(home.log.lines.join('\n'), /Snapshots\/Prepare|image store is broken/);
  });

  it('makes a socket that only its owner may open, and takes it away', async () => {
    assert.equal(statSync(socketPath).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(join(home.directory, 'run')), ['s.sock']);
    await server?.close();
    server = undefined;
    assert.deepEqual(readdirSync(join(home.directory, 'run')), []);
  });

  it('replaces the socket of a process that is gone', async () => {
    await server?.close();
    server = undefined;
    const gone = createServer();
    const draft = join(home.directory, 'draft.sock');
    await new Promise<void>((resolve) => gone.listen(draft, resolve));
    // a listener takes away the name that it knows, so this one stays, as after a kill
    renameSync(draft, socketPath);
    await new Promise<void>((resolve) => gone.close(() => resolve()));
    assert.ok(lstatSync(socketPath).isSocket());
    await serve();
    await client.prepare('a', '', {});
  });

  it('refuses a socket on which a process answers, and leaves it', async () => {
    await assert.rejects(serve(), /another process listens/);
    await client.prepare('a', '', {});
  });

  it('refuses to replace a file', async () => {
    await server?.close();
    server = undefined;
    writeFileSync(socketPath, 'precious');
    await assert.rejects(serve(), /not a socket/);
    assert.deepEqual(readdirSync(join(home.directory, 'run')), ['s.sock']);
  });

  it('refuses a path too long for a socket', async () => {
    const { snapshotter, log } = home;
    const long = join(home.directory, 'n'.repeat(100), 's.sock');
    await assert.rejects(serveSnapshotter({ socketPath: long, snapshotter, log }), /too long/);
  });

  it('lets a call under way end before it closes', async () => {
    const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
    const { promise: answer, resolve: give } = Promise.withResolvers<boolean>();
    home.images.available = () => {
      ask();
      return answer;
    };
    const call = client.prepare('k', '', { [SNAPSHOT_REF_LABEL]: `sha256:${'a'.repeat(64)}` });
    await asked;
    const closed = server?.close();
    server = undefined;
    give(false);
    assert.equal((await call).length, 1);
    client.close();
    await closed;
  });

  it('cuts a call that does not end in time, and tells it by its signal', async () => {
    await server?.close();
    const { snapshotter, log } = home;
    const cut = await serveSnapshotter({ socketPath, snapshotter, log, closeGraceMs: 20 });
    const { promise: asked, resolve: ask } = Promise.withResolvers<AbortSignal>();
    home.images.available = (_chainId, _labels, signal) => {
      ask(signal);
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    };
    const call = client.prepare('k', '', { [SNAPSHOT_REF_LABEL]: `sha256:${'a'.repeat(64)}` });
    const ended = assert.rejects(call);
    const signal = await asked;
    await cut.close();
    await ended;
    server = undefined;
    // the core saw the call go away, so that it can close
    await home.snapshotter.close();
    assert.equal(signal.aborted, true);
  });
});
