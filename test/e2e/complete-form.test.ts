import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../scripts/lib/child.ts';
import { layoutChainIds } from '../../scripts/lib/layout.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { StatusBody } from '../../worker/control/protocol.ts';
import { awkwardImage } from '../support/awkward-image.ts';
import { makeLayout } from '../support/images.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { isComplete, Stack, type StackOptions } from '../support/stack.ts';
import { compareTrees, listTreeAside } from '../support/tree-listing.ts';

const SLOW = 3_000_000;
const POLL_MS = 50;
const POLL_LIMIT_MS = 60_000;
const NOTHING = { contents: 0, bytes: 0 } as const;

/** Images whose contents have all arrived are shown by the kernel alone, whatever happens to the daemon. */
describe('complete forms', function () {
  this.timeout(240_000);
  let directory = '';
  let layout = '';
  let top: ChainId;

  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    directory = mkdtempSync(join(tmpdir(), 'sl-complete-'));
    layout = join(directory, 'layout');
    makeLayout(layout, [awkwardImage('v1')]);
    const last = (await layoutChainIds(layout, 'v1')).at(-1);
    assert.ok(last !== undefined);
    top = last;
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function withStack(options: StackOptions, use: (stack: Stack, reference: string) => Promise<void>) {
    await using stack = await Stack.start(options);
    const reference = await stack.convert(layout, 'v1', 'awkward:v1');
    await use(stack, reference);
  }

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

  /** Mounts the snapshot `key` on a new directory, which the stack takes away at its end. */
  async function mount(stack: Stack, key: string): Promise<string> {
    const root = await mkdtemp(join(stack.directory, 'held-'));
    await run('sh', ['-c', await snapshots(stack, 'mounts', root, key)]);
    return root;
  }

  /** What overlayfs shows, a mount of the daemon's with everything behind it being the measure. */
  async function assertWhole(stack: Stack, root: string): Promise<void> {
    const plain = await stack.push(layout, 'v1', 'plain/awkward:v1');
    await stack.containerd.ctr('images', 'pull', '--plain-http', '--snapshotter', 'overlayfs', plain);
    const expected = await stack.withRoot('overlayfs', top, (path) => listTreeAside(path));
    const actual = await listTreeAside(root);
    const withoutRoot = (rows: Awaited<typeof expected>) => new Map([...rows].filter(([path]) => path !== ''));
    assert.deepEqual(compareTrees(withoutRoot(expected), withoutRoot(actual)), []);
  }

  function mountsBelow(path: string): string[] {
    const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    return lines.map((line) => line.split(' ')[4] ?? '').filter((mountpoint) => mountpoint.startsWith(path));
  }

  const formFiles = (stack: Stack) => join(stack.daemonRoot, 'complete');

  it('a snapshot keeps the form in which it was made, also over restarts; later ones are complete', () =>
    withStack({ downRate: SLOW }, async (stack, reference) => {
      await stack.mustCli('pull', '-n', 'test', reference);
      await snapshots(stack, 'prepare', 'early', top);
      assert.ok(!isComplete(await snapshots(stack, 'mounts', '/mnt', 'early')));
      assert.equal((await status(stack)).images[0]?.form, 'served');
      await pullComplete(stack, reference);
      await snapshots(stack, 'prepare', 'late', top);
      await snapshots(stack, 'view', 'look', top);
      const check = async (): Promise<void> => {
        assert.ok(!isComplete(await snapshots(stack, 'mounts', '/mnt', 'early')), 'early');
        for (const key of ['late', 'look'])
          assert.ok(isComplete(await snapshots(stack, 'mounts', '/mnt', key)), key);
      };
      await check();
      await stack.daemon.stop();
      await stack.startDaemon();
      await check();
      assert.match(await stack.mustCli('status'), / complete +4\d+\/4\d+ .* complete +yes/);
    }));

  it('without the daemon and the network everything is read, for the first time too', () =>
    withStack({}, async (stack, reference) => {
      await pullComplete(stack, reference);
      await snapshots(stack, 'prepare', 'held', top);
      await snapshots(stack, 'view', 'look', top);
      const roots = [await mount(stack, 'held'), await mount(stack, 'look')];
      const id = 'running';
      const { containerd } = stack;
      await containerd.ctr('run', '-d', '--snapshotter', 'starlight', reference, id);
      await stack.daemon.stop('SIGKILL');
      stack.link.cut();
      writeFileSync('/proc/sys/vm/drop_caches', '3');
      for (const root of roots) await assertWhole(stack, root);
      const sum = await containerd.ctr('tasks', 'exec', '--exec-id', 'x', id, '/bin/sha256sum', '/large/random');
      assert.match(sum, /^[0-9a-f]{64} /);
      await stack.startDaemon();
      const [mounted] = (await status(stack)).images;
      assert.deepEqual([mounted?.form, mounted?.mounted], ['complete', true]);
      await assertWhole(stack, await mount(stack, 'held'));
      await containerd.ctr('tasks', 'kill', '-s', 'SIGKILL', id);
    }));

  it('what is committed from a container, and what stands on it, is right', () =>
    withStack({}, async (stack, reference) => {
      await pullComplete(stack, reference);
      await snapshots(stack, 'prepare', 'work', top);
      const root = await mount(stack, 'work');
      await run('sh', [
        '-ec',
        'cd "$0"; chmod 700 large/random; mv kinds/metadata kinds/renamed; echo new > added; rm many/file-1',
        root,
      ]);
      await run('umount', [root]);
      await snapshots(stack, 'commit', 'child', 'work');
      await snapshots(stack, 'prepare', 'over', 'child');
      await snapshots(stack, 'view', 'look', 'child');
      const sum = await run('sha256sum', [join(await mount(stack, 'work-again', ), 'x')]).catch(() => '');
      assert.equal(sum, '');
      for (const key of ['over', 'look']) {
        const at = await mount(stack, key);
        assert.equal(readFileSync(join(at, 'added'), 'utf8'), 'new\n');
        assert.equal(readFileSync(join(at, 'kinds/renamed'), 'utf8'), 'only its mode changes');
        assert.equal((await run('stat', ['-c', '%a %s', join(at, 'large/random')])).trim(), '700 9000001');
        assert.ok(!readdirSync(join(at, 'many')).includes('file-1'));
      }
    }));
});
void NOTHING;
void readdir;
