import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SnapshotterClient } from '../../conformance/snapshotter/client.ts';
import { snapshotterSuite } from '../../conformance/snapshotter/suite.ts';
import { run } from '../../scripts/lib/child.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { createSnapshotter } from '../../worker/snapshotter/create-snapshotter.ts';
import { NO_REMOTE_IMAGES } from '../../worker/snapshotter/remote-images.ts';
import { serveSnapshotter } from '../../worker/snapshotter/serve-snapshotter.ts';
import type { Snapshotter } from '../../worker/snapshotter/snapshotter.ts';
import { awkwardImage } from '../support/awkward-image.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { FailingLog } from '../support/failing-log.ts';
import { makeLayout } from '../support/images.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { compareTrees, listTree, type TreeListing } from '../support/tree-listing.ts';

const TRAITS = { renamesLowerDirectories: false };

describe('snapshotter under containerd', () => {
  const stack = new AsyncDisposableStack();
  const log = new FailingLog();
  let directory: string;
  let snapshotter: Snapshotter;
  let containerd: PrivateContainerd;
  let reference: string;

  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    directory = await mkdtemp(join(tmpdir(), 'sl-'));
    stack.defer(() => rm(directory, { recursive: true }));
    snapshotter = await createSnapshotter({
      root: join(directory, 'r'),
      remoteImages: NO_REMOTE_IMAGES,
      log,
    });
    stack.defer(() => snapshotter.close());
    const socketPath = join(directory, 's.sock');
    const server = await serveSnapshotter({ socketPath, snapshotter, log });
    stack.defer(() => server.close());
    const proxyPlugins = { starlight: socketPath };
    containerd = stack.use(await PrivateContainerd.start({ directory: join(directory, 'c'), proxyPlugins }));
    const registryFiles = join(directory, 'registry');
    await mkdir(registryFiles);
    const registry = stack.use(await DockerRegistry.start(registryFiles));
    reference = `${registry.host}/awkward:v1`;
    const layout = makeLayout(join(directory, 'layout'), [awkwardImage('v1')]);
    await run('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      `oci:${layout.path}:v1`,
      `docker://${reference}`,
    ]);
  });

  after(async () => {
    await stack.disposeAsync();
    log.assertQuiet();
  });

  async function pull(name: string): Promise<void> {
    await containerd.ctr('images', 'pull', '--plain-http', '--snapshotter', name, reference);
  }

  /** The image's root as `name` shows it to a container. */
  async function rootOf(name: string): Promise<TreeListing> {
    const target = join(directory, `root-${name}`);
    await mkdir(target);
    const mountArguments = ['images', 'mount', '--rw', '--snapshotter', name, reference, target];
    await containerd.ctr(...mountArguments);
    try {
      const rows = new Map(listTree(target));
      // the root is the new layer's own: it was made a moment ago
      const root = rows.get('');
      if (root !== undefined) rows.set('', { ...root, mtimeNs: 0n });
      return rows;
    } finally {
      await containerd.ctr('images', 'unmount', '--rm', '--snapshotter', name, target);
    }
  }

  /** Snapshot to what it takes, as the snapshotter `name` tells it. */
  async function usages(name: string): Promise<Map<string, { sizeBytes: number; inodes: number }>> {
    const table = await containerd.ctr('snapshots', '--snapshotter', name, 'usage', '-b');
    const rows = table.trim().split('\n').slice(1);
    return new Map(
      rows.map((row) => {
        const [key = '', size, inodes] = row.trim().split(/\s+/);
        return [key, { sizeBytes: Number(size), inodes: Number(inodes) }];
      }),
    );
  }

  it('shows an ordinary image as overlayfs shows it', async () => {
    await pull('overlayfs');
    await pull('starlight');
    const expected = await rootOf('overlayfs');
    const actual = await rootOf('starlight');
    assert.ok(expected.size > 5000, `the image has only ${expected.size} entries`);
    assert.deepEqual(compareTrees(expected, actual), []);
  });

  it('runs a container whose writes stay in its own layer', async () => {
    const runOne = (id: string, script: string): Promise<string> =>
      containerd.ctr('run', '--rm', '--snapshotter', 'starlight', reference, id, '/bin/sh', '-c', script);
    assert.equal(await runOne('one', 'echo kept > /file && rm /bin/ls && cat /file'), 'kept\n');
    assert.equal(await runOne('two', 'test -e /file || ls -d /bin'), '/bin\n');
  });

  it('tells kubelet what an image takes', async () => {
    const expected = await usages('overlayfs');
    const actual = await usages('starlight');
    assert.equal(actual.size, 3);
    assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort());
    for (const [key, usage] of actual) {
      assert.equal(usage.inodes, expected.get(key)?.inodes, `inodes of ${key}`);
      // ext4 does not allocate a large directory the same way twice
      const ratio = usage.sizeBytes / (expected.get(key)?.sizeBytes ?? Number.NaN);
      assert.ok(Math.abs(ratio - 1) < 0.01, `size of ${key}: ${ratio} of overlayfs's`);
    }
  });

  it('leaves nothing behind when the image is removed', async () => {
    await containerd.ctr('images', 'rm', '--sync', reference);
    assert.deepEqual([...snapshotter.list([])], []);
    await snapshotter.drained();
    for (const name of ['snapshots', 'trash'])
      assert.deepEqual(await readdir(join(directory, 'r', name)), []);
  });

  function connectTo(snapshotterName: string): () => Promise<SnapshotterClient> {
    return async () =>
      new SnapshotterClient({
        socketPath: containerd.socket,
        snapshotter: snapshotterName,
        namespace: 'suite',
      });
  }

  // the reference: a case that containerd's own snapshotter does not pass is wrong
  snapshotterSuite('overlayfs of containerd', connectTo('overlayfs'), TRAITS);
  snapshotterSuite('starlight through containerd', connectTo('starlight'), TRAITS);
});
