import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SnapshotterClient } from '../../conformance/snapshotter/client.ts';
import { run } from '../../scripts/lib/child.ts';
import { layoutChainIds } from '../../scripts/lib/layout.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { StatusBody } from '../../worker/control/protocol.ts';
import { awkwardImage } from '../support/awkward-image.ts';
import { makeLayout } from '../support/images.ts';
import { completeFormFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { isComplete, Stack, type StackOptions } from '../support/stack.ts';
import { compareTrees, listTreeAside, type TreeListing } from '../support/tree-listing.ts';

const SLOW = 3_000_000;
const POLL_MS = 50;
const POLL_LIMIT_MS = 60_000;
const CONTAINER = 'running';

/** Images whose contents have all arrived are shown by the kernel alone, whatever happens to the daemon. */
describe('complete forms', function () {
  this.timeout(240_000);
  let directory = '';
  let layout = '';
  let top: ChainId;

  before(async function () {
    directory = mkdtempSync(join(tmpdir(), 'sl-complete-'));
    const fault = await completeFormFault(directory);
    if (fault !== undefined) skip(this, fault);
    layout = join(directory, 'layout');
    makeLayout(layout, [awkwardImage('v1')]);
    const last = (await layoutChainIds(layout, 'v1')).at(-1);
    assert.ok(last !== undefined);
    top = last;
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function status(stack: Stack): Promise<StatusBody> {
    return JSON.parse(await stack.mustCli('-o', 'json', 'status')) as StatusBody; // the daemon's own contract
  }

  async function until(what: string, test: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + POLL_LIMIT_MS;
    while (!(await test())) {
      assert.ok(Date.now() < end, `not within ${POLL_LIMIT_MS} ms: ${what}`);
      await delay(POLL_MS);
    }
  }

  async function pullComplete(stack: Stack, reference: string): Promise<void> {
    await stack.mustCli('pull', '--wait', '-n', 'test', reference);
    await until('the form is there', async () => (await status(stack)).images[0]?.form === 'complete');
  }

  function snapshots(stack: Stack, ...args: string[]): Promise<string> {
    return stack.containerd.ctr('snapshots', '--snapshotter', 'starlight', ...args);
  }

  /** A view that containerd's garbage collection leaves alone; `ctr snapshots view` makes none such. */
  async function view(stack: Stack, key: string, parent: string): Promise<void> {
    const socketPath = join(stack.directory, 'c/containerd.sock');
    const client = new SnapshotterClient({ socketPath, snapshotter: 'starlight', namespace: 'test' });
    try {
      await client.view(key, parent, { 'containerd.io/gc.root': '2026-01-01T00:00:00Z' });
    } finally {
      client.close();
    }
  }

  /** Mounts the snapshot `key` on a new directory, which the stack takes away at its end. */
  async function mount(stack: Stack, key: string): Promise<string> {
    const root = await mkdtemp(join(stack.directory, 'held-'));
    await run('sh', ['-c', await snapshots(stack, 'mounts', root, key)]);
    return root;
  }

  function withoutRoot(listing: TreeListing): TreeListing {
    return new Map([...listing].filter(([path]) => path !== ''));
  }

  it('a snapshot keeps the form in which it was made, over restarts too; later ones are complete', async () => {
    await using stack = await Stack.start({ downRate: SLOW });
    const reference = await stack.convert(layout, 'v1', 'awkward:v1');
    await stack.mustCli('pull', '-n', 'test', reference);
    await snapshots(stack, 'prepare', 'early', top);
    assert.ok(!isComplete(await snapshots(stack, 'mounts', '/mnt', 'early')));
    assert.equal((await status(stack)).images[0]?.form, 'served');
    await pullComplete(stack, reference);
    await snapshots(stack, 'prepare', 'late', top);
    await view(stack, 'look', top);
    const check = async (): Promise<void> => {
      assert.ok(!isComplete(await snapshots(stack, 'mounts', '/mnt', 'early')), 'early');
      assert.ok(isComplete(await snapshots(stack, 'mounts', '/mnt', 'late')), 'late');
      assert.ok(isComplete(await snapshots(stack, 'mounts', '/mnt', 'look')), 'look');
    };
    await check();
    await stack.daemon.stop();
    await stack.startDaemon();
    await check();
    await until('the form is checked', async () =>
      / complete .* complete +yes/.test(await stack.mustCli('status')),
    );
  });

  it('turned off, everything is served, and the status says why', async () => {
    await using stack = await Stack.start({ daemonFlags: ['--filesystem-complete-form', 'off'] });
    const reference = await stack.convert(layout, 'v1', 'awkward:v1');
    await stack.mustCli('pull', '--wait', '-n', 'test', reference);
    assert.ok(!isComplete(await stack.mountCommand(top)));
    assert.match(await stack.mustCli('status'), /served by the daemon: turned off/);
  });

  describe('of an image that is here', () => {
    const options: StackOptions = { daemonFlags: ['--filesystem-unmount-at-exit'] };
    let stack: Stack;
    let reference: string;
    let expected: TreeListing;

    before(async () => {
      stack = await Stack.start(options);
      reference = await stack.convert(layout, 'v1', 'awkward:v1');
      const plain = await stack.push(layout, 'v1', 'plain/awkward:v1');
      await stack.containerd.ctr('images', 'pull', '--plain-http', '--snapshotter', 'overlayfs', plain);
      expected = await stack.withRoot('overlayfs', top, (path) => listTreeAside(path));
      await pullComplete(stack, reference);
    });
    after(() => stack?.[Symbol.asyncDispose]());

    async function assertWhole(root: string): Promise<void> {
      const actual = await listTreeAside(root);
      assert.deepEqual(compareTrees(withoutRoot(expected), withoutRoot(actual)), []);
    }

    /** What is mounted there below the daemon's root. */
    function mounted(): string[] {
      const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
      const mountpoints = lines.map((line) => line.split(' ')[4] ?? '');
      return mountpoints.filter((mountpoint) => mountpoint.startsWith(`${stack.daemonRoot}/`));
    }

    it('with the optimizer on they are served, so that opens are recorded', async () => {
      await stack.mustCli('optimizer', 'on');
      assert.ok(!isComplete(await stack.mountCommand(top)));
      await stack.mustCli('optimizer', 'off');
      assert.ok(isComplete(await stack.mountCommand(top)));
    });

    it('daemon and network gone, everything is read, for the first time too', async () => {
      const { containerd } = stack;
      await snapshots(stack, 'prepare', 'held', top);
      await view(stack, 'look', top);
      const roots = [await mount(stack, 'held'), await mount(stack, 'look')];
      const command = ['/bin/sleep', '600'];
      await containerd.ctr('run', '-d', '--snapshotter', 'starlight', reference, CONTAINER, ...command);
      await stack.daemon.stop('SIGKILL');
      stack.link.cut();
      writeFileSync('/proc/sys/vm/drop_caches', '3');
      for (const root of roots) await assertWhole(root);
      const exec = ['tasks', 'exec', '--exec-id', 'sum', CONTAINER, '/bin/sha256sum', '/large/random'];
      assert.match(await containerd.ctr(...exec), /^[0-9a-f]{64} /);
      await stack.startDaemon();
      assert.equal((await status(stack)).images[0]?.mounted, true);
      await assertWhole(await mount(stack, 'held'));
    });

    it('what is committed over them, and what stands on that, is right', async () => {
      await snapshots(stack, 'prepare', 'work', top);
      const root = await mount(stack, 'work');
      const change =
        'cd "$0"; chmod 700 large/random; mv kinds/metadata kinds/renamed; echo new > added; rm many/file-1';
      await run('sh', ['-ec', change, root]);
      await run('umount', [root]);
      await snapshots(stack, 'commit', 'child', 'work');
      await snapshots(stack, 'prepare', 'over', 'child');
      await view(stack, 'look-child', 'child');
      for (const key of ['over', 'look-child']) {
        const at = await mount(stack, key);
        const listing = await listTreeAside(at);
        const changed = new Set(['large/random', 'kinds', 'kinds/metadata', 'kinds/renamed', 'added']);
        const rest = (all: TreeListing): TreeListing =>
          new Map(
            [...withoutRoot(all)].filter(
              ([path]) => !changed.has(path) && path !== 'many' && path !== 'many/file-1',
            ),
          );
        assert.deepEqual(compareTrees(rest(expected), rest(listing)), [], key);
        assert.equal(readFileSync(join(at, 'added'), 'utf8'), 'new\n');
        const renamed = listing.get('kinds/renamed');
        assert.deepEqual(renamed, { ...expected.get('kinds/metadata'), links: 'kinds/renamed' });
        assert.deepEqual(listing.get('large/random'), { ...expected.get('large/random'), mode: '700' });
        assert.ok(!listing.has('many/file-1') && !listing.has('kinds/metadata'));
      }
    });

    it('a stop with filesystem.unmountAtExit takes their mounts away, not those of containers', async () => {
      assert.ok(mounted().length > 0);
      await stack.daemon.stop();
      assert.deepEqual(mounted(), []);
      const exec = ['tasks', 'exec', '--exec-id', 'after', CONTAINER, '/bin/cat', '/gone/back'];
      assert.equal(await stack.containerd.ctr(...exec), 'came back');
      await stack.startDaemon();
      assert.ok(mounted().length > 0);
    });

    it('they go with their image', async () => {
      const { containerd } = stack;
      await containerd.ctr('tasks', 'kill', '-s', 'SIGKILL', CONTAINER);
      await until('the container has ended', async () => /STOPPED/.test(await containerd.ctr('tasks', 'ls')));
      await containerd.ctr('containers', 'rm', CONTAINER);
      for (const key of ['over', 'look-child', 'child', 'held', 'look']) await snapshots(stack, 'rm', key);
      // the plain image has the same config, which holds the snapshots
      const images = [reference, `${stack.registry}/plain/awkward:v1`];
      await containerd.ctr('images', 'rm', '--sync', ...images);
      const left = async () =>
        (await readdir(join(stack.daemonRoot, 'complete'))).filter((name) => /^[0-9a-f]{64}/.test(name));
      await until('the image is collected', async () => (await left()).length === 0);
      assert.deepEqual(mounted(), []);
      assert.deepEqual((await status(stack)).images, []);
    });
  });
});
