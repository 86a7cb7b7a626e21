import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { ContainerdClient } from '../../../worker/containerd/client.ts';
import { isContainerdError } from '../../../worker/containerd/containerd-error.ts';
import { SnapshotCollection } from '../../../worker/containerd/snapshot-collection.ts';
import { FakeContainerd } from '../../support/fake-containerd.ts';

const signal = new AbortController().signal;

describe('SnapshotCollection', () => {
  let directory = '';
  let fake: FakeContainerd;
  let client: ContainerdClient;
  let keys: string[] = [];
  const tries = new EventEmitter();

  beforeEach(async () => {
    directory = mkdtempSync('/tmp/sl-collect-');
    fake = new FakeContainerd();
    const address = join(directory, 'c.sock');
    await fake.listen(address);
    client = new ContainerdClient({ address, timeoutMs: 5000, retries: 0, retryDelayMs: 1 });
    keys = ['made by hand', 'k8s.io/12/sha256:0', 'default/13/x'];
  });
  afterEach(() => {
    client.close();
    fake.server.forceShutdown();
    rmSync(directory, { recursive: true });
  });

  const collection = () =>
    new SnapshotCollection({
      client,
      snapshotter: 'starlight',
      keys: () => {
        tries.emit('try');
        return keys;
      },
      pauseMs: 1,
      log: pino({ level: 'silent' }),
    });

  it('makes and removes a snapshot, which makes containerd look, and waits for what it finds', async () => {
    fake.remote = false;
    await collection().collect(signal);
    assert.deepEqual(fake.names(), ['lease', 'prepare', 'remove', 'unlease']);
    const [lease, prepare, remove, unlease] = fake.calls;
    const id = lease?.request['id'];
    assert.deepEqual([prepare?.lease, remove?.lease], [id, id]);
    assert.equal(prepare?.request['snapshotter'], 'starlight');
    assert.equal(remove?.request['key'], prepare?.request['key']);
    assert.deepEqual([unlease?.request['id'], unlease?.request['sync']], [id, true]);
    assert.deepEqual(
      fake.calls.map((call) => call.namespace),
      ['k8s.io', 'k8s.io', 'k8s.io', 'k8s.io'],
    );
    assert.equal(fake.snapshots.size, 0);
  });

  it('asks for nothing where containerd has no snapshots', async () => {
    keys = ['made by hand'];
    await collection().collect(signal);
    assert.deepEqual(fake.calls, []);
  });

  it('says what containerd answers when it refuses, and does not ask again', async () => {
    fake.refusesLeases = true;
    const isRefusal = (error: unknown) => isContainerdError(error, 'refused');
    await assert.rejects(collection().collectWhenReachable(signal), isRefusal);
    assert.deepEqual(fake.names(), ['lease']);
  });

  it('waits for a containerd that is away', async () => {
    fake.server.forceShutdown();
    const waiting = collection().collectWhenReachable(signal);
    await once(tries, 'try'); // the second one: the first was made at once, and failed
    fake = new FakeContainerd();
    fake.remote = false;
    await fake.listen(join(directory, 'c.sock'));
    await waiting;
    assert.deepEqual(fake.names(), ['lease', 'prepare', 'remove', 'unlease']);
  });

  it('stops waiting when the daemon does', async () => {
    fake.server.forceShutdown();
    const stopping = new AbortController();
    const waiting = collection().collectWhenReachable(stopping.signal);
    stopping.abort(new Error('the daemon is stopping'));
    await assert.rejects(waiting, /the daemon is stopping/);
  });
});
