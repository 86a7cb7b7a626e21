import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../scripts/lib/child.ts';
import type { GcBody, StatusBody } from '../../worker/control/protocol.ts';
import { diskBytesOf } from '../../worker/store/usage-count.ts';
import { convertedLayout, shellLayer } from '../support/converted-layout.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { Stack } from '../support/stack.ts';
import { directory, file } from '../support/tar.ts';

const DATA_BYTES = 4 * 1024 * 1024;
const SLACK_BYTES = 1024 * 1024;
const HUGE_BYTES = 20 * 1024 * 1024;
const POLL_MS = 50;
const POLL_LIMIT_MS = 60_000;

/** Four images over one base layer; the quota has room for the base and the data of three. */
describe('the quota of starlight-daemon, with a real proxy, containerd and runc', function () {
  this.timeout(180_000);
  let stack: Stack;
  let home: string | undefined;
  let quotaBytes = 0;
  const references = new Map<string, string>();

  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    const base = shellLayer();
    const baseBytes = base.reduce((sum, { content }) => sum + diskBytesOf(content?.length ?? 0), 0);
    quotaBytes = baseBytes + 3 * DATA_BYTES + SLACK_BYTES;
    stack = await Stack.start({ daemonFlags: ['--store-quota-bytes', String(quotaBytes)] });
    home = await mkdtemp(join(tmpdir(), 'sl-quota-'));
    for (const [name, sizeBytes] of Object.entries({
      one: DATA_BYTES,
      two: DATA_BYTES,
      three: DATA_BYTES,
      four: DATA_BYTES,
      huge: HUGE_BYTES,
    })) {
      const layout = join(home, name);
      const data = [directory('data'), file('data/name', name), file('data/big', randomBytes(sizeBytes))];
      await convertedLayout(layout, 'v1', [base, data]);
      const pushed = await stack.push(layout, 'v1', `test/${name}:v1`);
      await stack.mustCli('notify', '--proxy', `http://${stack.registry}`, pushed);
      references.set(name, pushed);
    }
  });
  after(async () => {
    await stack?.[Symbol.asyncDispose]();
    if (home !== undefined) await rm(home, { recursive: true, force: true });
  });

  const reference = (name: string): string => references.get(name) ?? assert.fail(`no image ${name}`);
  const status = async (): Promise<StatusBody> =>
    JSON.parse(await stack.mustCli('-o', 'json', 'status')) as StatusBody; // the daemon's own contract
  const names = async (): Promise<string[]> =>
    (await status()).images.map((image) => /test\/(\w+):/.exec(image.reference)?.[1] ?? '').sort();
  const pull = (name: string) => stack.mustCli('pull', '--wait', '-n', 'test', reference(name));
  const remove = async (name: string): Promise<void> => {
    await stack.containerd.ctr('images', 'rm', '--sync', reference(name));
    await until(`${name} is evictable`, () => isEvictable(name));
  };
  const isEvictable = async (name: string): Promise<boolean> =>
    (await status()).images.some((image) => image.reference === reference(name) && image.evictable);
  const cat = (id: string, name: string, path: string) =>
    stack.containerd.ctr('run', '--rm', '--snapshotter', 'starlight', reference(name), id, '/bin/cat', path);

  async function until(what: string, test: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + POLL_LIMIT_MS;
    while (!(await test())) {
      assert.ok(Date.now() < end, `not within ${POLL_LIMIT_MS} ms: ${what}`);
      await delay(POLL_MS);
    }
  }

  it('shows the quota, and what the store takes up on the disk', async () => {
    await pull('one');
    const { store } = await status();
    assert.deepEqual([store.quotaBytes, store.reservedBytes, store.evictableBytes], [quotaBytes, 0, 0]);
    const du = await run('du', ['-s', '-B1', '--exclude=contents/tmp', join(stack.daemonRoot, 'contents')]);
    const directories = await run('find', [join(stack.daemonRoot, 'contents'), '-type', 'd']);
    const directoryBytes = 4096 * directories.trim().split('\n').length;
    const actual = Number(du.split('\t')[0]);
    assert.ok(Math.abs(actual - store.bytes) <= directoryBytes, `${actual} and ${store.bytes} bytes`);
    assert.match(await stack.mustCli('status'), /^store {2}\d+ contents, [\d.]+ MB of [\d.]+ MB$/m);
  });

  it('keeps a removed image as long as there is room: pulled again it needs no contents', async () => {
    await remove('one');
    const { store } = await status();
    assert.equal(store.evictableBytes, store.bytes);
    const before = stack.link.downBytes;
    await pull('one');
    assert.ok(stack.link.downBytes - before < 100_000, `${stack.link.downBytes - before} bytes`);
    assert.equal(await cat('again', 'one', '/data/name'), 'one');
  });

  it('evicts the one used longest ago when a pull needs room, and no other', async () => {
    await pull('two');
    await pull('three');
    await remove('two');
    await remove('three');
    assert.deepEqual(await names(), ['one', 'three', 'two']);
    await pull('four');
    assert.deepEqual(await names(), ['four', 'one', 'three']);
    const { store } = await status();
    assert.ok(store.bytes <= quotaBytes, `${store.bytes} of ${quotaBytes} bytes`);
    assert.equal(await cat('four', 'four', '/data/name'), 'four');
  });

  it('refuses what does not fit: nothing is fetched or lost, and containers run on', async () => {
    await stack.containerd.ctr(
      ...['run', '-d', '--snapshotter', 'starlight', reference('one'), 'running', '/bin/sh', '-c'],
      'while :; do read x </data/name; done',
    );
    const before = await status();
    const bytesBefore = stack.link.downBytes;
    const result = await stack.cli('pull', '--wait', '-n', 'test', reference('huge'));
    assert.equal(result.code, 1, result.stdout);
    assert.match(result.stderr, /error: no room in the store: 21\.0 MB are needed and [\d.]+ MB can be had/);
    assert.match(result.stderr, /ctr images rm.* or raise store\.quotaBytes/);
    assert.deepEqual((await status()).store, before.store);
    assert.deepEqual(await names(), ['four', 'one', 'three']);
    const images = await stack.containerd.ctr('images', 'ls', '-q');
    assert.doesNotMatch(images, /huge/);
    assert.match(await stack.containerd.ctr('task', 'ls'), /running +\d+ +RUNNING/);
    assert.ok(stack.link.downBytes - bytesBefore < HUGE_BYTES, 'all of it was sent');
  });

  it('knows it all after a restart, kill -9 included', async () => {
    const before = await status();
    await stack.daemon.stop('SIGKILL');
    await stack.startDaemon();
    assert.deepEqual((await status()).store, before.store);
    const big = ['task', 'exec', '--exec-id', 'after', 'running', '/bin/cat', '/data/name'];
    assert.equal(await stack.containerd.ctr(...big), 'one');
  });

  it('learns of an image that was removed while it was away, though containerd asks only once', async () => {
    await stack.daemon.stop('SIGKILL');
    await stack.containerd.ctr('images', 'rm', '--sync', reference('four'));
    await stack.startDaemon();
    await until('four is evictable', () => isEvictable('four'));
  });

  it('never takes what a running container is of, though its image is removed', async () => {
    await stack.containerd.ctr('images', 'rm', '--sync', reference('one'));
    const gc = JSON.parse(await stack.mustCli('-o', 'json', 'gc')) as GcBody; // the daemon's own contract
    assert.equal(gc.removedImages, 2);
    assert.ok(gc.removedBytes >= 2 * DATA_BYTES, `${gc.removedBytes} bytes`);
    assert.deepEqual(await names(), ['one']);
    const args = ['task', 'exec', '--exec-id', 'kept', 'running', '/bin/cat', '/data/big'];
    const { stdout } = await stack.containerd.tryCtr(args);
    assert.ok(stdout.length > 0);
    await stack.containerd.ctr('task', 'rm', '-f', 'running');
    await stack.containerd.ctr('containers', 'rm', 'running');
  });

  it('gc frees everything once nothing is in use', async () => {
    await until('the image is evictable', async () => (await status()).images.every((one) => one.evictable));
    assert.match(await stack.mustCli('gc'), /^removed 1 images and \d+ contents, freed [\d.]+ MB\n$/);
    const { store, images } = await status();
    assert.deepEqual(
      { contents: store.contents, bytes: store.bytes, images },
      { contents: 0, bytes: 0, images: [] },
    );
  });
});
