import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { answers, type CommandResult, run, Server, tryRun } from '../../scripts/lib/child.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { freePort } from '../../scripts/lib/free-port.ts';
import { unmountBelow } from '../../scripts/lib/mounts.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { Link } from './link.ts';

const BIN = new URL('../../bin/', import.meta.url).pathname;

const POLL_MS = 100;
const POLL_LIMIT_MS = 60_000;

/** Whether a mount command is of a complete form: only those have data-only layers. */
export function isComplete(command: string): boolean {
  return command.includes('::');
}

export interface StackOptions {
  /** Bytes per second between daemon and proxy. */
  readonly downRate?: number;
  readonly driver?: 'auto' | 'kernel' | 'fuse-native';
  /** Puts the daemon's state on a tmpfs of this size. */
  readonly daemonDiskBytes?: number;
  readonly proxyFlags?: readonly string[];
  readonly daemonFlags?: readonly string[];
  /** containerd serves kubelet and crictl as well, with the daemon as the snapshotter of their images. */
  readonly cri?: boolean;
}

/**
 * The whole product on one machine, every part real and on paths of its own: a proxy with its embedded registry,
 * a containerd with the daemon as its snapshotter, and a link between them that a test can slow, cut and damage.
 */
export class Stack implements AsyncDisposable {
  readonly directory: string;
  readonly proxyPort: number;
  readonly link: Link;
  readonly #options: StackOptions;
  #containerd: PrivateContainerd | undefined;
  #proxy: Server | undefined;
  #daemon: Server | undefined;

  private constructor(directory: string, proxyPort: number, link: Link, options: StackOptions) {
    this.directory = directory;
    this.proxyPort = proxyPort;
    this.link = link;
    this.#options = options;
  }

  static async start(options: StackOptions = {}): Promise<Stack> {
    const directory = await mkdtemp(join(tmpdir(), 'sl-'));
    const proxyPort = await freePort();
    const link = await Link.open({
      targetPort: proxyPort,
      ...(options.downRate === undefined ? {} : { downRate: options.downRate }),
    });
    const stack = new Stack(directory, proxyPort, link, options);
    try {
      if (options.daemonDiskBytes !== undefined) {
        await mkdir(stack.daemonRoot);
        const size = `size=${options.daemonDiskBytes},mode=700`;
        await run('mount', ['-t', 'tmpfs', '-o', size, 'starlight-test', stack.daemonRoot]);
      }
      await stack.startProxy();
      await stack.startDaemon();
      stack.#containerd = await PrivateContainerd.start({
        directory: join(directory, 'c'),
        proxyPlugins: { starlight: stack.snapshotterSocket },
        ...(options.cri === true ? { cri: { certsDir: stack.certsDir, snapshotter: 'starlight' } } : {}),
      });
    } catch (error) {
      await stack[Symbol.asyncDispose]();
      throw error;
    }
    return stack;
  }

  get containerd(): PrivateContainerd {
    if (this.#containerd === undefined) throw new Error('containerd has not been started');
    return this.#containerd;
  }

  get daemon(): Server {
    if (this.#daemon === undefined) throw new Error('the daemon has not been started');
    return this.#daemon;
  }

  get proxy(): Server {
    if (this.#proxy === undefined) throw new Error('the proxy has not been started');
    return this.#proxy;
  }

  get daemonRoot(): string {
    return join(this.directory, 'd');
  }

  get snapshotterSocket(): string {
    return join(this.directory, 'snapshotter.sock');
  }

  /** Where containerd's CRI looks for `hosts.toml` files. */
  get certsDir(): string {
    return join(this.directory, 'certs.d');
  }

  get controlSocket(): string {
    return join(this.directory, 'control.sock');
  }

  /** The proxy's registry, as references name it. */
  get registry(): string {
    return `127.0.0.1:${this.proxyPort}`;
  }

  async startProxy(): Promise<void> {
    const { proxyPort: port, directory } = this;
    this.#proxy = await Server.start(
      {
        command: `${BIN}starlight-proxy`,
        args: [
          ...['--listen-port', String(port), '--storage-dir', join(directory, 'registry')],
          ...['--database-dir', join(directory, 'db'), ...(this.#options.proxyFlags ?? [])],
        ],
        logFile: join(directory, 'proxy.log'),
      },
      answers(`http://127.0.0.1:${port}/readyz`),
      60_000,
    );
  }

  /** Fulfils when the daemon answers; containerd, where it runs, tries within three seconds to reach a new one. */
  async startDaemon(): Promise<void> {
    this.#daemon = await Server.start(
      {
        command: `${BIN}starlight-daemon`,
        args: [
          ...['--root', this.daemonRoot, '--proxy-url', `http://127.0.0.1:${this.link.port}`],
          ...['--containerd-address', join(this.directory, 'c/containerd.sock')],
          ...['--snapshotter-socket', this.snapshotterSocket, '--control-socket', this.controlSocket],
          ...['--filesystem-driver', this.#options.driver ?? 'auto', ...(this.#options.daemonFlags ?? [])],
        ],
        logFile: join(this.directory, 'daemon.log'),
      },
      async () => (await this.cli('status')).code === 0 && (await this.#isReachable()),
    );
  }

  async #isReachable(): Promise<boolean> {
    if (this.#containerd === undefined) return true;
    return (await this.#containerd.tryCtr(['snapshots', '--snapshotter', 'starlight', 'ls'])).code === 0;
  }

  /** Runs `ctr-starlight` against this daemon, whatever its exit code. */
  async cli(...args: string[]): Promise<CommandResult> {
    return await tryRun(`${BIN}ctr-starlight`, ['--socket', this.controlSocket, ...args], {
      timeoutMs: 180_000,
    });
  }

  /** Runs `ctr-starlight`. @throws {Error} with what it printed when it fails. */
  async mustCli(...args: string[]): Promise<string> {
    return await run(`${BIN}ctr-starlight`, ['--socket', this.controlSocket, ...args], {
      timeoutMs: 180_000,
    });
  }

  /** Copies an image of an OCI layout to the registry as it is. */
  async push(layout: string, tag: string, name: string): Promise<string> {
    const reference = `${this.registry}/${name}`;
    const flags = ['--insecure-policy', 'copy', '-q', '--preserve-digests', '--dest-tls-verify=false'];
    await run('skopeo', [...flags, `oci:${layout}:${tag}`, `docker://${reference}`]);
    return reference;
  }

  /** Converts an image of an OCI layout into the registry, and has the proxy ingest it. */
  async convert(layout: string, tag: string, name: string): Promise<string> {
    const reference = `${this.registry}/${name}`;
    const notify = ['--notify', '--proxy', `http://${this.registry}`];
    await this.mustCli('convert', ...notify, '--insecure-destination', `oci:${layout}:${tag}`, reference);
    return reference;
  }

  /** Mounts the root of a new container over `chainId`, hands it to `use`, and takes all away again. */
  async withRoot<T>(
    snapshotter: string,
    chainId: ChainId,
    use: (root: string) => Promise<T>,
    namespace = 'test',
  ): Promise<T> {
    const snapshots = (...args: string[]) =>
      this.containerd.ctr('-n', namespace, 'snapshots', '--snapshotter', snapshotter, ...args);
    const root = await mkdtemp(join(this.directory, 'root-'));
    const key = `root-${process.hrtime.bigint()}`;
    await snapshots('prepare', key, chainId);
    try {
      const command = await snapshots('mounts', root, key);
      await run('sh', ['-c', command]);
      try {
        return await use(root);
      } finally {
        await run('umount', [root]);
      }
    } finally {
      await snapshots('rm', key);
    }
  }

  /** The command that mounts a new writable snapshot over `chainId`, which is removed again. */
  async mountCommand(chainId: ChainId): Promise<string> {
    const key = `look-${process.hrtime.bigint()}`;
    await this.containerd.ctr('snapshots', '--snapshotter', 'starlight', 'prepare', key, chainId);
    try {
      return await this.containerd.ctr('snapshots', '--snapshotter', 'starlight', 'mounts', '/mnt', key);
    } finally {
      await this.containerd.ctr('snapshots', '--snapshotter', 'starlight', 'rm', key);
    }
  }

  /** Fulfils when new snapshots over `chainId` get the complete form. @throws {Error} after a minute. */
  async whenComplete(chainId: ChainId): Promise<void> {
    const end = Date.now() + POLL_LIMIT_MS;
    while (!isComplete(await this.mountCommand(chainId))) {
      if (Date.now() > end)
        throw new Error(`${chainId} has no complete form: ${await this.mustCli('status')}`);
      await delay(POLL_MS);
    }
  }

  /** Whoever keeps descriptors of mounts for the next daemon: there will be none. */
  async #endHolders(): Promise<void> {
    const directory = join(this.daemonRoot, 'descriptors');
    for (const name of await readdir(directory).catch(() => [])) {
      const { pid } = JSON.parse(await readFile(join(directory, name), 'utf8')) as { pid: number }; // a holder's record
      await tryRun('kill', ['-9', String(pid)]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#containerd?.[Symbol.asyncDispose]();
    await this.#daemon?.stop();
    await this.#proxy?.stop();
    await this.link[Symbol.asyncDispose]();
    await this.#endHolders();
    await unmountBelow(this.directory); // what a killed daemon left mounted
    await rm(this.directory, { recursive: true, force: true });
  }
}
