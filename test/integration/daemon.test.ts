import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { StatusBody } from '../../worker/control/protocol.ts';
import { convertedLayout, shellLayer } from '../support/converted-layout.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { Stack } from '../support/stack.ts';
import { directory, file, type TarEntry } from '../support/tar.ts';

const BIG_BYTES = 4 * 1024 * 1024;
const SLOW = 2_000_000;
const POLL_MS = 50;
const POLL_LIMIT_MS = 60_000;

/** What the daemon does with containerd and the proxy, beyond what test/e2e/faults.test.ts shows. */
describe('starlight-daemon, with a real proxy, containerd and runc', function () {
  this.timeout(180_000);
  let stack: Stack;
  let home: string | undefined;
  let reference = '';
  let next = '';

  const big = randomBytes(BIG_BYTES);
  const extra = (greeting: string): TarEntry[] => [
    directory('data'),
    file('data/hello', greeting),
    file('data/big', big),
    ...Array.from({ length: 200 }, (_, row) => file(`data/file-${row}`, `content ${row}\n`)),
  ];

  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    stack = await Stack.start();
    home = await mkdtemp('/tmp/sl-layout-');
    const publish = async (version: string): Promise<string> => {
      const layout = join(home ?? '', version);
      await convertedLayout(layout, version, [shellLayer(), extra(`hello from ${version}\n`)]);
      const pushed = await stack.push(layout, version, `test/app:${version}`);
      await stack.mustCli('notify', '--proxy', `http://${stack.registry}`, pushed);
      return pushed;
    };
    reference = await publish('v1');
    next = await publish('v2');
  });

  after(async () => {
    await stack?.[Symbol.asyncDispose]();
    if (home !== undefined) await rm(home, { recursive: true, force: true });
  });

  const runs = async (id: string, name: string, command: string): Promise<string> =>
    await stack.containerd.ctr(
      'run',
      '--rm',
      '--snapshotter',
      'starlight',
      name,
      id,
      '/bin/sh',
      '-c',
      command,
    );

  const images = async (): Promise<StatusBody['images']> =>
    (JSON.parse(await stack.mustCli('-o', 'json', 'status')) as StatusBody).images; // the daemon's own contract

  async function until(what: string, test: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + POLL_LIMIT_MS;
    while (!(await test())) {
      assert.ok(Date.now() < end, `not within ${POLL_LIMIT_MS} ms: ${what}`);
      await delay(POLL_MS);
    }
  }

  it('pulls, and a plain ctr run works', async () => {
    await stack.mustCli('pull', '-n', 'test', '--wait', reference);
    assert.equal(await runs('one', reference, 'cat /data/hello'), 'hello from v1\n');
  });

  it('an update brings little more than what changed', async () => {
    const before = stack.link.downBytes;
    await stack.mustCli('pull', '-n', 'test', '--wait', next);
    const bytes = stack.link.downBytes - before;
    assert.ok(bytes < 20_000, `${bytes} bytes`);
    assert.equal(await runs('two', next, 'cat /data/hello'), 'hello from v2\n');
  });

  it('the same image in another namespace needs its header only', async () => {
    const before = stack.link.downBytes;
    await stack.mustCli('pull', '-n', 'elsewhere', '--wait', reference);
    assert.ok(stack.link.downBytes - before < 20_000);
    const image = (await images()).find((one) => one.reference === reference);
    assert.deepEqual(image?.namespaces, ['elsewhere', 'test']);
  });

  it('pulled twice at once, both succeed', async () => {
    await Promise.all([1, 2].map(() => stack.mustCli('pull', '-n', 'test', '--wait', next)));
  });

  it('first opens are recorded while the optimizer is on, and reported', async () => {
    await stack.mustCli('optimizer', 'on');
    await runs('traced', next, 'cat /data/hello /data/file-7 /data/file-3 >/dev/null');
    const { images: reported } = JSON.parse(await stack.mustCli('-o', 'json', 'report')) as {
      images: { opens: number; accepted: number }[];
    };
    assert.equal(reported.length, 1);
    assert.ok((reported[0]?.opens ?? 0) >= 5);
    assert.ok((reported[0]?.accepted ?? 0) >= 1);
    await stack.mustCli('optimizer', 'off');
    await runs('untraced', next, 'cat /data/file-9 >/dev/null');
    assert.deepEqual(JSON.parse(await stack.mustCli('-o', 'json', 'report')), { images: [] });
  });

  it('a container outlives the daemon, killed and started again', async () => {
    await stack.containerd.ctr(
      ...['run', '-d', '--snapshotter', 'starlight', reference, 'survivor', '/bin/sh', '-c'],
      'while :; do read x </data/hello; done',
    );
    await stack.daemon.stop('SIGKILL');
    await stack.startDaemon();
    const says = await stack.containerd.ctr(
      ...['task', 'exec', '--exec-id', 'after', 'survivor', '/bin/cat', '/data/hello', '/data/file-11'],
    );
    assert.equal(says, 'hello from v1\ncontent 11\n');
    assert.match(await stack.containerd.ctr('task', 'ls'), /survivor +\d+ +RUNNING/);
    await stack.containerd.ctr('task', 'rm', '-f', 'survivor');
    await stack.containerd.ctr('containers', 'rm', 'survivor');
  });

  it('contents that were taken away are fetched when they are read', async () => {
    await stack.daemon.stop();
    await rm(join(stack.daemonRoot, 'contents', 'sha256'), { recursive: true });
    await stack.startDaemon();
    assert.equal(await runs('evicted', reference, 'cat /data/file-17'), 'content 17\n');
  });

  it('an image removed in the middle of its pull is collected afterwards', async () => {
    stack.link.setDownRate(SLOW);
    await stack.containerd.ctr('images', 'rm', '--sync', reference);
    await stack.containerd.ctr('images', 'rm', '--sync', next);
    await stack.mustCli('gc');
    await stack.mustCli('pull', '-n', 'test', reference);
    await stack.containerd.ctr('images', 'rm', '--sync', reference);
    stack.link.setDownRate(Number.POSITIVE_INFINITY);
    await until('no image of the namespace is left', async () => {
      await stack.mustCli('gc');
      return (await images()).every((one) => one.namespaces.includes('elsewhere'));
    });
  });
});
