import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { run } from '../../scripts/lib/child.ts';
import type { StatusBody } from '../../worker/control/protocol.ts';
import { layoutChainIds } from '../../scripts/lib/layout.ts';
import { awkwardImage, awkwardLargeFile } from '../support/awkward-image.ts';
import { makeLayout } from '../support/images.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { Stack, type StackOptions } from '../support/stack.ts';
import { compareTrees, listTreeAside } from '../support/tree-listing.ts';

/** What happens when a process is killed, the network goes, bytes change, the disk is full: nothing is lost, nothing is wrong. */

const SLOW = 3_000_000;
const POLL_MS = 50;
const POLL_LIMIT_MS = 60_000;

describe('faults', function () {
  this.timeout(240_000);
  let directory = '';
  let layout = '';
  let randomDigest = '';

  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    directory = mkdtempSync(join(tmpdir(), 'sl-faults-'));
    layout = join(directory, 'layout');
    makeLayout(layout, [awkwardImage('v1')]);
    const random = awkwardLargeFile();
    randomDigest = createHash('sha256').update(random).digest('hex');
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function withStack(options: StackOptions, use: (stack: Stack, reference: string) => Promise<void>) {
    await using stack = await Stack.start(options);
    const reference = await stack.convert(layout, 'v1', 'awkward:v1');
    await use(stack, reference);
  }

  /** The large file's digest as a new container sees it; runs until the file is all there. */
  async function readInContainer(stack: Stack, reference: string, id: string): Promise<string> {
    const args = [
      'run',
      '--rm',
      '--snapshotter',
      'starlight',
      reference,
      id,
      '/bin/sha256sum',
      '/large/random',
    ];
    return (await stack.containerd.ctr(...args)).split(' ')[0] ?? '';
  }

  async function status(stack: Stack): Promise<StatusBody> {
    return JSON.parse(await stack.mustCli('-o', 'json', 'status')) as StatusBody; // the daemon's own contract
  }

  /** Whether the container's process sleeps until StarlightFS answers. */
  async function waitsForFile(stack: Stack, id: string): Promise<boolean> {
    const line = (await stack.containerd.ctr('task', 'ls'))
      .split('\n')
      .find((one) => one.startsWith(`${id} `));
    const pid = line?.split(/\s+/)[1];
    if (pid === undefined) return false;
    const kernelStack = await readFile(`/proc/${pid}/stack`, 'utf8').catch(() => '');
    return /fuse_/.test(kernelStack) && /sha256sum/.test(await readFile(`/proc/${pid}/cmdline`, 'utf8'));
  }

  async function until(what: string, test: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + POLL_LIMIT_MS;
    while (!(await test())) {
      assert.ok(Date.now() < end, `not within ${POLL_LIMIT_MS} ms: ${what}`);
      await delay(POLL_MS);
    }
  }

  it('a container runs before its contents have arrived, and reads on as they come', () =>
    withStack({ downRate: SLOW }, async (stack, reference) => {
      await stack.mustCli('pull', '-n', 'test', reference);
      const args = ['--snapshotter', 'starlight', reference, 'early', '/bin/sh', '-c', 'echo started'];
      assert.match(await stack.containerd.ctr('run', '--rm', ...args), /started/);
      const image = (await status(stack)).images[0];
      assert.equal(image?.state, 'pulling');
      assert.ok((image?.contentsArrived ?? 0) < (image?.contentsTotal ?? 0));
      assert.equal(await readInContainer(stack, reference, 'late'), randomDigest);
    }));

  it('the proxy is killed in the middle of a bundle and started again', () =>
    withStack({ downRate: SLOW }, async (stack, reference) => {
      await stack.mustCli('pull', '-n', 'test', reference);
      const reading = readInContainer(stack, reference, 'waiting');
      await stack.proxy.stop('SIGKILL');
      assert.equal((await status(stack)).images[0]?.state, 'pulling');
      await stack.startProxy();
      assert.equal(await reading, randomDigest);
      await stack.mustCli('pull', '--wait', '-n', 'test', reference);
    }));

  it('the network is cut again and again', () =>
    withStack({ downRate: SLOW }, async (stack, reference) => {
      await stack.mustCli('pull', '-n', 'test', reference);
      for (const share of [0.2, 0.5, 0.8]) {
        const goal = share * 9_000_000;
        await until(`${goal} bytes have come`, async () => stack.link.downBytes > goal);
        stack.link.cut();
      }
      await stack.mustCli('pull', '--wait', '-n', 'test', reference);
      assert.equal(await readInContainer(stack, reference, 'after'), randomDigest);
      // It went on where it stopped: all of it was not sent again each time.
      assert.ok(stack.link.downBytes < 14_000_000, `${stack.link.downBytes} bytes`);
    }));

  it('one byte of a payload is flipped: refused, fetched again, never seen', () =>
    withStack({ downRate: 20_000_000 }, async (stack, reference) => {
      let flipped = 0;
      stack.link.setDamage((bytes) => {
        if (flipped > 0 || stack.link.downBytes < 5_000_000) return;
        const at = bytes.length >> 1;
        bytes[at] = (bytes[at] ?? 0) ^ 1;
        flipped++;
      });
      await stack.mustCli('pull', '--wait', '-n', 'test', reference);
      assert.equal(flipped, 1);
      assert.equal(await readInContainer(stack, reference, 'flipped'), randomDigest);
    }));

  it('every large payload is damaged: the pull fails, and a reader gets an error, not wrong bytes', () =>
    withStack(
      {
        daemonFlags: [
          '--filesystem-wait-limit-ms',
          '2000',
          '--download-retry-delay-ms',
          '10',
          '--download-retry-delay-max-ms',
          '10',
        ],
      },
      async (stack, reference) => {
        // The random file is the only large content that does not compress: whoever sends it again sends it wrong.
        let run = 0;
        stack.link.setDamage((bytes) => {
          run = bytes.length >= 16_384 ? run + 1 : 0;
          if (run > 20) bytes[100] = (bytes[100] ?? 0) ^ 0x10;
        });
        const pull = await stack.cli('pull', '--wait', '-n', 'test', reference);
        assert.equal(pull.code, 1, pull.stdout);
        assert.match(pull.stderr, /error: /);
        const args = [
          'run',
          '--rm',
          '--snapshotter',
          'starlight',
          reference,
          'damaged',
          '/bin/sha256sum',
          '/large/random',
        ];
        const result = await stack.containerd.tryCtr(args);
        assert.notEqual(result.code, 0);
        assert.doesNotMatch(result.stdout, /[0-9a-f]{64}/);
        stack.link.setDamage(undefined);
        await stack.mustCli('pull', '--wait', '-n', 'test', reference);
        assert.equal(await readInContainer(stack, reference, 'healed'), randomDigest);
      },
    ));

  it('the disk is full: a clear error, and the pull goes on when there is room', async () => {
    await using stack = await Stack.start({ daemonDiskBytes: 6_000_000 });
    const reference = await stack.convert(layout, 'v1', 'awkward:v1');
    const full = await stack.cli('pull', '--wait', '-n', 'test', reference);
    assert.equal(full.code, 1, full.stdout);
    assert.match(full.stderr, /no space|disk is full/i);
    const [image] = (await status(stack)).images;
    assert.equal(image?.state, 'failed');
    assert.ok(image.contentsArrived > 0, 'what has arrived is told');
    await run('mount', ['-o', 'remount,size=200m', stack.daemonRoot]);
    await stack.mustCli('pull', '--wait', '-n', 'test', reference);
    assert.equal(await readInContainer(stack, reference, 'room'), randomDigest);
  });

  it('containerd is restarted: images, snapshots and running containers stay', () =>
    withStack({}, async (stack, reference) => {
      await stack.mustCli('pull', '--wait', '-n', 'test', reference);
      const running = ['run', '-d', '--snapshotter', 'starlight', reference, 'running', '/bin/sleep', '1000'];
      await stack.containerd.ctr(...running);
      await stack.containerd.halt('SIGKILL');
      await stack.containerd.resume();
      assert.match(await stack.containerd.ctr('task', 'ls'), /running +\d+ +RUNNING/);
      assert.match(
        await stack.containerd.ctr('task', 'exec', '--exec-id', 'x', 'running', '/bin/cat', '/gone/back'),
        /came back/,
      );
      assert.equal(await readInContainer(stack, reference, 'again'), randomDigest);
    }));

  it('containerd is away while an image is pulled: it is told when it is back', () =>
    withStack({}, async (stack, reference) => {
      await stack.containerd.halt();
      const pulling = stack.cli('pull', '--wait', '-n', 'test', reference);
      await stack.containerd.resume();
      const result = await pulling;
      assert.equal(result.code, 0, result.stderr);
      assert.equal(await readInContainer(stack, reference, 'later'), randomDigest);
    }));

  it('the daemon is killed in the middle of a pull: a new one takes it up by itself', () =>
    withStack({ downRate: SLOW }, async (stack, reference) => {
      await stack.mustCli('pull', '-n', 'test', reference);
      await until('a third has come', async () => stack.link.downBytes > 3_000_000);
      await stack.daemon.stop('SIGKILL');
      await stack.startDaemon();
      await until('the image is complete', async () => (await status(stack)).images[0]?.state === 'complete');
      assert.equal(await readInContainer(stack, reference, 'taken'), randomDigest);
    }));

  const ends = [
    ['SIGTERM', 'stopped', /error: the daemon is stopping\nhint: .* by itself/],
    ['SIGKILL', 'killed', /error: the daemon ended the connection.*\nhint: .* by itself/],
  ] as const;
  for (const [signal, how, message] of ends) {
    it(`the daemon is ${how} while a container waits in an open: it gets its file from the next one`, () =>
      withStack({ downRate: SLOW / 10 }, async (stack, reference) => {
        const pulling = stack.cli('pull', '--wait', '-n', 'test', reference);
        await until('all but the large file is here', async () => {
          const [image] = (await status(stack)).images;
          return image !== undefined && image.contentsArrived === image.contentsTotal - 1;
        });
        stack.link.setDownRate(SLOW / 100); // minutes for the rest
        const reading = readInContainer(stack, reference, 'waiting');
        const waits = until('the container waits in its open', () => waitsForFile(stack, 'waiting'));
        await Promise.race([waits, reading.then(() => assert.fail('it read a file that is not here'))]);
        const code = await stack.daemon.stop(signal);
        if (signal === 'SIGTERM') assert.equal(code, 0);
        stack.link.setDownRate(Number.POSITIVE_INFINITY);
        await stack.startDaemon();
        const pull = await pulling;
        assert.equal(pull.code, 1);
        assert.match(pull.stderr, message);
        assert.equal(await reading, randomDigest);
        await until(
          'the image is complete',
          async () => (await status(stack)).images[0]?.state === 'complete',
        );
      }));
  }

  it('a finished image needs no network, after a restart of the daemon either', () =>
    withStack({}, async (stack, reference) => {
      await stack.mustCli('pull', '--wait', '-n', 'test', reference);
      await stack.proxy.stop();
      stack.link.cut(true);
      assert.equal(await stack.daemon.stop(), 0);
      await stack.startDaemon();
      assert.equal(await readInContainer(stack, reference, 'offline'), randomDigest);
      await stack.mustCli('pull', '--wait', '-n', 'test', reference);
    }));

  it('an image that is removed leaves nothing', () =>
    withStack({}, async (stack, reference) => {
      await stack.mustCli('pull', '--wait', '-n', 'test', reference);
      await readInContainer(stack, reference, 'one');
      await stack.containerd.ctr('images', 'rm', '--sync', reference);
      await until('its snapshots are gone', async () => {
        const listing = await stack.containerd.ctr('snapshots', '--snapshotter', 'starlight', 'ls');
        return listing.trim().split('\n').length === 1;
      });
      await stack.mustCli('gc');
      const { store, images } = await status(stack);
      assert.deepEqual({ contents: store.contents, images }, { contents: 0, images: [] });
    }));

  it('an image that is removed while somebody waits for it goes when the wait is over', () =>
    withStack({ downRate: SLOW }, async (stack, reference) => {
      const pulling = stack.cli('pull', '--wait', '-n', 'test', reference);
      await until('containerd knows the image', async () =>
        (await stack.containerd.ctr('images', 'ls', '-q')).includes(reference),
      );
      await stack.containerd.ctr('images', 'rm', '--sync', reference);
      await pulling;
      await until('all of it is gone', async () => {
        const { store, images } = await status(stack);
        return store.contents === 0 && images.length === 0;
      });
    }));

  it('gc spares what a container needs whose image was removed; all of it goes by itself with the container', () =>
    withStack({ downRate: SLOW }, async (stack, reference) => {
      const { containerd } = stack;
      await stack.mustCli('pull', '-n', 'test', reference);
      const sleeping = ['-d', '--snapshotter', 'starlight', reference, 'sleeps', '/bin/sleep', '1000'];
      await containerd.ctr('run', ...sleeping);
      await containerd.ctr('images', 'rm', '--sync', reference);
      assert.match(await stack.mustCli('gc'), /^removed 0 images and 0 contents/);
      const read = ['exec', '--exec-id', 'reads', 'sleeps', '/bin/sha256sum', '/large/random'];
      assert.equal((await containerd.ctr('task', ...read)).split(' ')[0], randomDigest);
      await containerd.ctr('task', 'rm', '-f', 'sleeps');
      await containerd.ctr('containers', 'rm', 'sleeps');
      await until('all of it is gone', async () => {
        const { store, images } = await status(stack);
        return store.contents === 0 && images.length === 0;
      });
    }));

  const switches = [
    ['starlight', 'overlayfs'],
    ['overlayfs', 'starlight'],
  ] as const;
  for (const [first, second] of switches) {
    it(`an image pulled for ${first} can be pulled and run with ${second} as well`, () =>
      withStack({}, async (stack, reference) => {
        for (const snapshotter of [first, second]) {
          if (snapshotter === 'starlight') await stack.mustCli('pull', '--wait', '-n', 'test', reference);
          else {
            const flags = ['--plain-http', '--snapshotter', snapshotter];
            await stack.containerd.ctr('images', 'pull', ...flags, reference);
          }
        }
        for (const snapshotter of [first, second]) {
          const args = ['--snapshotter', snapshotter, reference, snapshotter, '/bin/cat', '/gone/back'];
          assert.match(await stack.containerd.ctr('run', '--rm', ...args), /came back/);
        }
      }));
  }

  it('an ordinary image through this snapshotter is as through overlayfs', () =>
    withStack({}, async (stack) => {
      const plain = await stack.push(layout, 'v1', 'plain/awkward:v1');
      const chain = (await layoutChainIds(layout, 'v1')).at(-1);
      assert.ok(chain !== undefined);
      const listings = [];
      for (const snapshotter of ['overlayfs', 'starlight']) {
        await stack.containerd.ctr('images', 'pull', '--plain-http', '--snapshotter', snapshotter, plain);
        listings.push(await stack.withRoot(snapshotter, chain, (root) => listTreeAside(root)));
      }
      const [expected, actual] = listings;
      assert.ok(expected !== undefined && actual !== undefined);
      const differences = compareTrees(expected, actual).filter((line) => !line.startsWith('"": mtimeNs'));
      assert.deepEqual(differences, []);
    }));

  const refusals: readonly (readonly [string, string, RegExp])[] = [
    ['an image that is not there', 'no/such:v1', /no\/such|not found|unknown/i],
    ['an image that is not converted', 'plain/awkward:v1', /not converted/i],
    ['a malformed reference', 'UPPER:v1', /not an image reference/],
  ];
  for (const [what, name, message] of refusals) {
    it(`${what} is refused with a clear error`, () =>
      withStack({}, async (stack) => {
        await stack.push(layout, 'v1', 'plain/awkward:v1');
        const result = await stack.cli('pull', '-n', 'test', `${stack.registry}/${name}`);
        assert.equal(result.code, 1, result.stdout);
        assert.match(result.stderr, message);
      }));
  }
});
