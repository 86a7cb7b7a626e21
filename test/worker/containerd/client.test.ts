import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { ContainerdClient } from '../../../worker/containerd/client.ts';
import { ContainerdError } from '../../../worker/containerd/containerd-error.ts';
import { registerImage } from '../../../worker/containerd/register-image.ts';
import { type MadeImage, makeImage } from '../../extensions/starlight/made-image.ts';
import { FakeContainerd } from '../../support/fake-containerd.ts';
import { file } from '../../support/tar.ts';

const signal = new AbortController().signal;
const log = pino({ level: 'silent' });

describe('registerImage()', () => {
  let directory = '';
  let fake: FakeContainerd;
  let client: ContainerdClient;
  let image: MadeImage;

  before(async () => {
    image = await makeImage([[file('a', 'a')], [file('b', 'b')]]);
  });
  beforeEach(async () => {
    directory = mkdtempSync('/tmp/sl-ctrd-');
    fake = new FakeContainerd();
    const address = join(directory, 'c.sock');
    await fake.listen(address);
    client = new ContainerdClient({ address, timeoutMs: 5000, retries: 0, retryDelayMs: 1 });
  });
  afterEach(() => {
    client.close();
    fake.server.forceShutdown();
    rmSync(directory, { recursive: true });
  });

  const register = () => {
    const [config] = image.blobs;
    assert.ok(config !== undefined);
    const source = { host: 'registry.example', repository: 'test/app' };
    const { manifest } = image;
    const made = { name: 'registry.example/test/app:v1', source, manifest, config };
    return registerImage(client, 'k8s.io', 'starlight', made, log, signal);
  };
  const labelsOf = (row: number) => fake.blobs.get(image.blobs[row]?.digest ?? '') ?? {};

  it('goes in containerd’s own order, all of it under one lease that is given back', async () => {
    await register();
    const names = fake.names();
    assert.equal(names[0], 'lease');
    assert.equal(names.at(-1), 'unlease');
    assert.deepEqual(
      names.filter((name) => !['stat', 'add'].includes(name)),
      ['lease', 'write', 'write', 'prepare', 'prepare', 'label', 'image', 'unlease'],
    );
    const leases = new Set(fake.calls.slice(1, -1).map((call) => call.lease ?? call.request['id']));
    assert.deepEqual([...leases], [fake.calls[0]?.request['id']]);
    assert.equal(fake.snapshots.size, 2);
  });

  it('sets the labels by which containerd keeps what belongs together', async () => {
    await register();
    const top = [...fake.snapshots].at(-1);
    assert.equal(labelsOf(0)['containerd.io/gc.ref.snapshot.starlight'], top);
    assert.equal(labelsOf(0)['containerd.io/distribution.source.registry.example'], 'test/app');
    const manifest = fake.blobs.get(image.manifest.digest) ?? {};
    assert.equal(manifest['containerd.io/gc.ref.content.config'], image.blobs[0]?.digest);
    assert.equal(manifest['containerd.io/gc.ref.content.l.0'], image.blobs[1]?.digest);
    assert.equal(manifest['containerd.io/gc.ref.content.l.1'], image.blobs[2]?.digest);
  });

  it('does it again without harm', async () => {
    await register();
    fake.imageExists = true;
    fake.calls.length = 0;
    await register();
    assert.equal(fake.names().includes('prepare'), false);
    assert.equal(fake.names().includes('image-update'), true);
  });

  it('says so when the snapshotter wants layers unpacked, and leaves nothing behind', async () => {
    fake.remote = false;
    await assert.rejects(
      register(),
      (error) => error instanceof ContainerdError && error.kind === 'snapshotter',
    );
    assert.equal(fake.snapshots.size, 0);
    assert.equal(fake.names().at(-1), 'unlease');
    assert.equal(fake.names().includes('image'), false);
  });

  it('says that containerd is not there', async () => {
    const options = { address: join(directory, 'none.sock'), timeoutMs: 1000, retries: 1, retryDelayMs: 1 };
    const lost = new ContainerdClient(options);
    await assert.rejects(lost.ping(signal), (error) => {
      assert.ok(error instanceof ContainerdError);
      assert.equal(error.kind, 'unavailable');
      assert.match(error.message, /none\.sock/);
      return true;
    });
    lost.close();
  });
});
