import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failsWith, SnapshotterClient } from '../../conformance/snapshotter/client.ts';
import { run } from '../../scripts/lib/child.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { type ChainId, chainIds } from '../../schemas/oci/chain-id.ts';
import { createSnapshotter } from '../../worker/snapshotter/create-snapshotter.ts';
import { serveSnapshotter } from '../../worker/snapshotter/serve-snapshotter.ts';
import { SNAPSHOT_REF_LABEL } from '../../worker/snapshotter/snapshot.ts';
import type { Snapshotter } from '../../worker/snapshotter/snapshotter.ts';
import type { ListeningServer } from '../../worker/snapshotter/socket-server.ts';
import { DirectoryImages } from '../support/directory-images.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { FailingLog } from '../support/failing-log.ts';
import { makeLayout } from '../support/images.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { NEVER } from '../support/snapshotter-home.ts';
import { directory as directoryEntry, file } from '../support/tar.ts';

const GC_ROOT = 'containerd.io/gc.root';
const BUSYBOX = '/bin/busybox';

/**
 * The remote contract with containerd's metadata store in between. The trees hold a file that the layers do not,
 * so that it shows where the contents of a container come from.
 */
describe('remote snapshots under containerd', () => {
  const stack = new AsyncDisposableStack();
  const log = new FailingLog();
  const images = new DirectoryImages();
  let directory: string;
  let snapshotter: Snapshotter;
  let server: ListeningServer;
  let containerd: PrivateContainerd;
  let reference: string;
  let chain: readonly ChainId[];

  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    directory = await mkdtemp(join(tmpdir(), 'sl-'));
    stack.defer(() => rm(directory, { recursive: true }));
    await start();
    stack.defer(stop);
    const proxyPlugins = { starlight: join(directory, 's.sock') };
    containerd = stack.use(await PrivateContainerd.start({ directory: join(directory, 'c'), proxyPlugins }));
    const registryFiles = join(directory, 'registry');
    await mkdir(registryFiles);
    const registry = stack.use(await DockerRegistry.start(registryFiles));
    reference = `${registry.host}/remote:v1`;
    const layout = makeLayout(join(directory, 'layout'), [
      {
        tag: 'v1',
        layers: [
          [directoryEntry('bin')],
          [file('lower', 'from the layer\n')],
          [file('upper', 'from the layer\n')],
        ],
      },
    ]);
    await run('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      `oci:${layout.path}:v1`,
      `docker://${reference}`,
    ]);
    chain = chainIds(layout.images[0]?.layers.map((layer) => layer.diffId) ?? []);
    // the two lower layers are at hand; the third is unpacked above them
    for (const [index, chainId] of chain.slice(0, 2).entries()) {
      const tree = join(directory, `tree-${index}`);
      await mkdir(join(tree, 'bin'), { recursive: true });
      await copyFile(BUSYBOX, join(tree, 'bin/busybox'));
      await symlink('busybox', join(tree, 'bin/sh'));
      await writeFile(join(tree, 'lower'), `from tree ${index}\n`);
      images.trees.set(chainId, [tree]);
    }
  });

  after(async () => {
    await stack.disposeAsync();
    log.assertQuiet();
  });

  async function start(): Promise<void> {
    snapshotter = await createSnapshotter({ root: join(directory, 'r'), remoteImages: images, log });
    const { failed } = await snapshotter.ensureMounts(NEVER);
    assert.deepEqual(failed, []);
    server = await serveSnapshotter({ socketPath: join(directory, 's.sock'), snapshotter, log });
  }

  async function stop(): Promise<void> {
    await server.close();
    await snapshotter.close();
  }

  /** Runs `ctr` in another namespace than `test`: the last `-n` counts. */
  function elsewhere(...args: string[]): Promise<string> {
    return containerd.ctr('-n', 'other', ...args);
  }

  function sources(): string[] {
    return [...snapshotter.list(['kind==committed'])].map((info) => info.source.kind);
  }

  /**
   * Claims the layers at hand in containerd's namespace, as a client does that knows of them before the image is
   * fetched, then pulls, and then lets the image alone hold the layers.
   */
  async function claimAndPull(namespace: string): Promise<void> {
    const client = new SnapshotterClient({
      socketPath: containerd.socket,
      snapshotter: 'starlight',
      namespace,
    });
    try {
      let parent = '';
      for (const chainId of chain) {
        const labels = { [SNAPSHOT_REF_LABEL]: chainId, [GC_ROOT]: 'claimed' };
        if (!images.trees.has(chainId)) break;
        await assert.rejects(
          client.prepare(`extract ${chainId}`, parent, labels),
          failsWith('ALREADY_EXISTS'),
        );
        assert.equal((await client.stat(chainId)).parent, parent);
        parent = chainId;
      }
      await containerd.ctr('-n', namespace, ...PULL, reference);
      for (const chainId of images.trees.keys()) {
        await client.update(chainId, { labels: {} }, [`labels.${GC_ROOT}`]);
      }
    } finally {
      client.close();
    }
  }

  /** containerd removes snapshots some time after it forgot them; this waits for it. */
  async function collect(): Promise<void> {
    await containerd.ctr('content', 'prune', 'references');
  }

  const PULL = ['images', 'pull', '--plain-http', '--snapshotter', 'starlight'];
  const RUN = ['run', '--rm', '--snapshotter', 'starlight'];

  it('are taken for the layers at hand, and the others are unpacked above', async () => {
    await claimAndPull('test');
    assert.deepEqual(sources(), ['remote', 'remote', 'local']);
    const script = 'read lower < /lower; read upper < /upper; echo "$lower, $upper"';
    assert.equal(
      await containerd.ctr(...RUN, reference, 'one', '/bin/sh', '-c', script),
      'from tree 1, from the layer\n',
    );
    await collect();
    assert.equal(images.references.size, 0);
  });

  it('are shared by another namespace', async () => {
    await claimAndPull('other');
    assert.deepEqual(sources(), ['remote', 'remote', 'local', 'local']);
    const text = await elsewhere(...RUN, reference, 'two', '/bin/sh', '-c', 'read x < /lower; echo "$x"');
    assert.equal(text, 'from tree 1\n');
  });

  it('serve a container that was made before the snapshotter and containerd were started again', async () => {
    await collect();
    const command = ['/bin/busybox', 'echo', 'kept'];
    await containerd.ctr('containers', 'create', '--snapshotter', 'starlight', reference, 'kept', ...command);
    assert.equal(images.references.size, 1);
    await containerd.halt('SIGKILL');
    await stop();
    images.references.clear();
    await start();
    assert.equal(images.references.size, 1);
    await containerd.resume();
    assert.equal(await containerd.ctr('tasks', 'start', 'kept'), 'kept\n');
    await containerd.ctr('tasks', 'rm', 'kept').catch(() => undefined); // it may be gone already
    await containerd.ctr('containers', 'rm', 'kept');
    await collect();
    assert.equal(images.references.size, 0);
  });

  it('are released when the last image that has them is removed', async () => {
    await containerd.ctr('images', 'rm', '--sync', reference);
    assert.deepEqual(images.releasedChains, []);
    await elsewhere('images', 'rm', '--sync', reference);
    await snapshotter.drained();
    assert.deepEqual([...images.releasedChains].sort(), chain.slice(0, 2).sort());
    assert.equal(images.references.size, 0);
    assert.deepEqual([...snapshotter.list([])], []);
    for (const name of ['snapshots', 'trash'])
      assert.deepEqual(await readdir(join(directory, 'r', name)), []);
  });
});
