import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { failsWith, SnapshotterClient } from '../../conformance/snapshotter/client.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { chainIds } from '../../schemas/oci/chain-id.ts';
import { run, Server } from '../../scripts/lib/child.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { unmountBelow } from '../../scripts/lib/mounts.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { makeLayout } from '../support/images.ts';
import { machineFault } from '../support/machine.ts';
import { originRequests } from '../support/origin-log.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { randomly } from '../support/randomly.ts';
import { skip } from '../support/skip.ts';
import { directory, file } from '../support/tar.ts';

const SOURCE = resolve('test/support/stargz-snapshotter');
const CLI = resolve('bin/ctr-starlight');
const NODES = ['one', 'two', 'three'] as const;
const MIB = 1 << 20;

interface Layer {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Each node a stargz-snapshotter of its own, with the proxy as its mirror of the origin. */
describe('stargz-snapshotter with the proxy as its mirror', function () {
  this.timeout(600_000);
  let scratch: string;
  let tool: string;
  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    scratch = await mkdtemp(join(tmpdir(), 'sl-sgz-'));
    tool = join(scratch, 'stargz-snapshotter');
    try {
      await run('go', ['version']);
    } catch {
      skip(this, 'there is no Go on this machine to build stargz-snapshotter with');
    }
    await run('go', ['build', '-p', '2', '-o', tool, '.'], { cwd: SOURCE });
  });
  after(async () => {
    if (scratch === undefined) return; // skipped
    await unmountBelow(scratch);
    await rm(scratch, { recursive: true, force: true });
  });

  it('runs containers of an eStargz image on three nodes, and the origin sends no byte twice', async () => {
    await using origin = await DockerRegistry.start(scratch);
    const content = randomly(1).noise(12 * MIB);
    const layout = makeLayout(join(scratch, 'layout'), [
      {
        tag: 'v1',
        layers: [
          [directory('bin'), file('bin/busybox', await readFile('/bin/busybox'), { mode: 0o755 })],
          [
            directory('data'),
            ...[0, 1, 2].map((at) => file(`data/${at}`, content.subarray(at * 4 * MIB, (at + 1) * 4 * MIB))),
          ],
        ],
      },
    ]);
    const reference = `${origin.host}/est/image:v1`;
    await run(CLI, ['convert', '--estargz', '--insecure-destination', `oci:${layout.path}:v1`, reference]);
    const headers = { Accept: 'application/vnd.oci.image.manifest.v1+json' };
    const get = async (path: string) =>
      await (await fetch(`http://${origin.host}/v2/est/image/${path}`, { headers })).json();
    const manifest = (await get('manifests/v1')) as { config: Layer; layers: Layer[] };
    const config = (await get(`blobs/${manifest.config.digest}`)) as { rootfs: { diff_ids: Digest[] } };
    const log = join(scratch, 'registry.log');
    const before = (await originRequests(log)).length;

    await using proxy = await ProxyProcess.start(scratch, [
      ...['--upstream-url', `http://${origin.host}`, '--mirror-dir', join(scratch, 'mirror')],
      ...['--mirror-max-bytes', String(1 << 30)],
    ]);
    const stargzConfig = join(scratch, 'stargz.toml');
    await writeFile(
      stargzConfig,
      `[[resolver.host."${origin.host}".mirrors]]\nhost = "${proxy.host}"\ninsecure = true\n`,
    );
    await using nodes = new AsyncDisposableStack();
    const sockets: Record<string, string> = {};
    for (const name of NODES) {
      const root = join(scratch, name);
      await mkdir(root);
      sockets[name] = join(root, 's.sock');
      const args = [sockets[name], root, stargzConfig];
      const ready = async (printed: () => string) => printed().includes('serving');
      nodes.use(await Server.start({ command: tool, args, logFile: join(root, 'log') }, ready));
    }
    const containerd = nodes.use(
      await PrivateContainerd.start({ directory: join(scratch, 'c'), proxyPlugins: sockets }),
    );
    const sums = await Promise.all(
      NODES.map((name) =>
        pullAndRun(
          containerd,
          join(scratch, 'c/containerd.sock'),
          name,
          reference,
          manifest.layers,
          config.rootfs.diff_ids,
        ),
      ),
    );
    const expected = [0, 1, 2].map((at) =>
      digestOf(content.subarray(at * 4 * MIB, (at + 1) * 4 * MIB)).slice(7),
    );
    for (const sum of sums) assert.deepEqual([...sum.matchAll(/[0-9a-f]{64}/g)].map(String), expected);

    // What the containers did not read comes in the background.
    const [store = ''] = (await readdir(join(scratch, 'mirror'))).filter((name) => name !== 'lock');
    for (const { digest } of manifest.layers) {
      const hex = digest.slice(7);
      const path = join(scratch, 'mirror', store, 'sha256', hex.slice(0, 2), hex);
      while (!existsSync(path)) await delay(50);
    }
    const asked = (await originRequests(log)).slice(before);
    for (const { digest, size } of manifest.layers) {
      const gets = asked.filter((one) => one.method === 'GET' && one.path.includes(digest));
      const sent = gets.reduce((sum, one) => sum + one.sizeBytes, 0);
      assert.ok(sent > 0 && sent <= size * 1.01, `${sent} of ${size} bytes in ${gets.length} requests`);
    }
  });

  /** Lazily: the snapshotter claims each layer by its labels, nothing is unpacked. @returns what the container printed */
  async function pullAndRun(
    containerd: PrivateContainerd,
    socketPath: string,
    snapshotter: string,
    reference: string,
    layers: readonly Layer[],
    diffIds: readonly Digest[],
  ): Promise<string> {
    const client = new SnapshotterClient({ socketPath, snapshotter, namespace: 'test' });
    const chain = chainIds(diffIds);
    let parent = '';
    try {
      for (const [at, layer] of layers.entries()) {
        const labels = {
          'containerd.io/snapshot.ref': chain[at] ?? '',
          'containerd.io/snapshot/remote/stargz.reference': reference,
          'containerd.io/snapshot/remote/stargz.digest': layer.digest,
          'containerd.io/snapshot/remote/stargz.layers': layers.map((one) => one.digest).join(','),
          'containerd.io/gc.root': '2026-01-01T00:00:00Z',
          ...layer.annotations,
        };
        await assert.rejects(client.prepare(`layer-${at}`, parent, labels), failsWith('ALREADY_EXISTS'));
        parent = chain[at] ?? '';
      }
    } finally {
      client.close();
    }
    const root = join(scratch, `root-${snapshotter}`);
    await mkdir(root);
    const where = ['--snapshotter', snapshotter];
    await containerd.ctr('snapshots', ...where, 'prepare', 'root', parent);
    await run('sh', ['-c', await containerd.ctr('snapshots', ...where, 'mounts', root, 'root')]);
    const command = ['/bin/busybox', 'sha256sum', '/data/0', '/data/1', '/data/2'];
    try {
      return await containerd.ctr('run', '--rm', '--rootfs', root, `c-${snapshotter}`, ...command);
    } finally {
      await run('umount', [root]);
      await containerd.ctr('snapshots', ...where, 'rm', 'root');
    }
  }
});
