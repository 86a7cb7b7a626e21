/** The kernel driver's mounts outlive its process: killed at any moment, nothing that uses them fails. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { run, start } from '../../conformance/filesystem/fixture.ts';
import { SampleContents, sha256 } from '../../conformance/filesystem/sample-content.ts';
import { SURVIVAL } from '../../conformance/filesystem/survival-tree.ts';
import type { DriverName } from '../../worker/filesystem/driver.ts';
import { MNT_DETACH, unmount } from '../../worker/filesystem/kernel/system-calls.ts';
import { isMounted } from '../../worker/filesystem/mount-table.ts';

const SERVER = fileURLToPath(new URL('../../conformance/filesystem/serve-tree.ts', import.meta.url));

/** A serving process and what it has said. */
class Server {
  readonly child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #watchers = new Set<() => void>();
  #stderr = '';

  constructor(directory: string, driver: DriverName) {
    this.child = spawn(process.execPath, [SERVER, directory, driver], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    if (this.child.stdout === null) throw new Error('no stdout');
    createInterface(this.child.stdout).on('line', (line) => {
      this.#lines.push(line);
      for (const look of [...this.#watchers]) look();
    });
  }

  said(line: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.#lines.includes(line)) resolve();
      };
      this.#watchers.add(look);
      this.child.once('exit', (code) =>
        reject(new Error(`ended with ${code} before "${line}": ${this.#stderr}`)),
      );
      look();
    });
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const exited = once(this.child, 'exit');
    this.child.kill(signal);
    await exited;
  }
}

describe('a mounted tree whose process is gone', () => {
  let directory: string;
  let mountpoint: string;
  let contents: SampleContents;
  const servers: Server[] = [];

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'starlight-survival-'));
    mountpoint = join(directory, 'mount');
    await mkdir(mountpoint);
    contents = new SampleContents(join(directory, 'contents'));
    for (const bytes of [SURVIVAL.large, ...SURVIVAL.small]) contents.put(bytes);
  });

  afterEach(async () => {
    for (const server of servers.splice(0)) {
      if (server.child.exitCode === null && server.child.signalCode === null) await server.end('SIGINT');
    }
    if (isMounted(mountpoint)) await unmount(mountpoint, MNT_DETACH);
    const records = await readdir(join(directory, 'descriptors')).catch(() => []);
    assert.deepEqual(records, [], 'a holder is left');
    await rm(directory, { recursive: true });
  });

  function serve(driver: DriverName = 'kernel'): Server {
    const server = new Server(directory, driver);
    servers.push(server);
    return server;
  }

  async function holderPid(): Promise<number> {
    const [name = ''] = await readdir(join(directory, 'descriptors'));
    const record = JSON.parse(await readFile(join(directory, 'descriptors', name), 'utf8')) as {
      pid: number;
    };
    return record.pid;
  }

  it('is taken over after kill -9, with opens, reads and walks in flight', async () => {
    const first = serve();
    await first.said('mounted');
    const late = start('cat', [`${mountpoint}/late`]);
    const walks = Array.from({ length: 3 }, () =>
      start('sh', [
        '-c',
        'for i in 1 2 3 4 5; do find "$0" -type f -name "small*" -exec cat {} + || exit 9; done',
        mountpoint,
      ]),
    );
    const large = start('sh', [
      '-c',
      'for i in 1 2 3 4 5 6; do cat "$0/large" | sha256sum; done',
      mountpoint,
    ]);
    await first.said(`want ${sha256(SURVIVAL.late)}`);
    await first.end('SIGKILL');
    const later = start('cat', [`${mountpoint}/later`]);

    const second = serve();
    await second.said('resumed');
    await second.said(`want ${sha256(SURVIVAL.late)}`);
    await second.said(`want ${sha256(SURVIVAL.later)}`);
    await second.end('SIGKILL');

    const third = serve();
    await third.said('resumed');
    await third.said(`want ${sha256(SURVIVAL.later)}`);
    contents.put(SURVIVAL.late);
    contents.put(SURVIVAL.later);
    assert.ok((await late.ended).stdout.equals(SURVIVAL.late));
    assert.ok((await later.ended).stdout.equals(SURVIVAL.later));
    for (const walk of walks) {
      const { code, stdout, stderr } = await walk.ended;
      assert.equal(code, 0, stderr);
      assert.equal(stdout.length, 5 * SURVIVAL.small.reduce((sum, bytes) => sum + bytes.length, 0));
    }
    const sums = (await large.ended).stdout.toString().trimEnd().split('\n');
    assert.deepEqual([...new Set(sums)], [`${sha256(SURVIVAL.large).slice(7)}  -`]);
    assert.equal(sums.length, 6);
  }).timeout(60_000);

  it('is left by a process that ends in order, and taken over', async () => {
    const first = serve();
    await first.said('mounted');
    const late = start('cat', [`${mountpoint}/late`]);
    await first.said(`want ${sha256(SURVIVAL.late)}`);
    await first.end('SIGTERM');
    assert.ok(isMounted(mountpoint));
    const second = serve();
    await second.said('resumed');
    contents.put(SURVIVAL.late);
    assert.ok((await late.ended).stdout.equals(SURVIVAL.late));
  });

  it('is mounted anew when its holder is gone as well', async () => {
    const first = serve();
    await first.said('mounted');
    process.kill(-(await holderPid()), 'SIGKILL');
    await first.end('SIGKILL');
    const { stderr } = await run('ls', [mountpoint]);
    assert.match(stderr, /not connected|connection abort/);
    const second = serve();
    await second.said('mounted');
    assert.equal((await run('cat', [`${mountpoint}/d1/small-1`])).stdout.toString(), 'small 1');
  });

  it('does not keep its process from exiting, with opens in flight', async () => {
    const first = serve();
    await first.said('mounted');
    const late = start('cat', [`${mountpoint}/late`]);
    await first.said(`want ${sha256(SURVIVAL.late)}`);
    await first.end('SIGHUP');
    assert.equal(first.child.exitCode, 3);
    const second = serve();
    await second.said('resumed');
    contents.put(SURVIVAL.late);
    assert.ok((await late.ended).stdout.equals(SURVIVAL.late));
  });

  it('is mounted anew with fuse-native, which cannot be taken over', async () => {
    const first = serve('fuse-native');
    await first.said('mounted');
    await first.end('SIGKILL');
    assert.ok(isMounted(mountpoint));
    const second = serve('fuse-native');
    await second.said('mounted');
    assert.equal((await run('cat', [`${mountpoint}/d1/small-1`])).stdout.toString(), 'small 1');
  });

  it('lets its holder go when it was unmounted while no process ran', async () => {
    const first = serve();
    await first.said('mounted');
    await first.end('SIGTERM');
    const pid = await holderPid();
    assert.deepEqual(await readdir(`/proc/${pid}/fd`), ['0', '1', '2', '3'], 'it holds one descriptor');
    await unmount(mountpoint, MNT_DETACH); // umount(8) would ask the mount, and nobody answers
    const second = serve();
    await second.said('mounted');
    // Gone, or a zombie that nobody has reaped yet.
    assert.equal(await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => ''), '');
  });

  it('goes for good when unmounted from outside', async () => {
    const first = serve();
    await first.said('mounted');
    assert.equal((await run('umount', [mountpoint])).code, 0);
    await first.end('SIGINT');
    assert.equal(isMounted(mountpoint), false);
  });
});
