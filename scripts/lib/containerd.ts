import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CommandResult, run, Server, tryRun } from './child.ts';

/** Plugins that a test needs none of, or that look at the machine outside its own paths. */
const CRI = 'io.containerd.grpc.v1.cri';
const DISABLED = [
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.zfs',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.internal.v1.opt',
];

export interface PrivateContainerdOptions {
  /** A short path: it becomes part of overlayfs's mount options and of socket names. */
  readonly directory: string;
  /** Snapshotter name to the socket of its service. */
  readonly proxyPlugins?: Readonly<Record<string, string>>;
  /** Serves kubelet and crictl as well, on the same socket. Images are in the namespace `k8s.io`. */
  readonly cri?: CriOptions;
  /** A network namespace to run in. */
  readonly namespace?: string;
  /** The namespace of its images and containers, after which their cgroups are named too; `test` by default. */
  readonly containerdNamespace?: string;
  /** Ends what it is asked, except its own end. */
  readonly signal?: AbortSignal;
}

export interface CriOptions {
  /** A tree of `hosts.toml` files. */
  readonly certsDir: string;
  /** Where images are unpacked; it is told by labels which image a layer is of. */
  readonly snapshotter: string;
}

/** A real containerd on paths of its own: root, state, socket. */
export class PrivateContainerd implements AsyncDisposable {
  readonly socket: string;
  readonly logFile: string;
  readonly #options: PrivateContainerdOptions;
  #server: Server | undefined;

  private constructor(options: PrivateContainerdOptions) {
    this.#options = options;
    this.socket = join(options.directory, 'containerd.sock');
    this.logFile = join(options.directory, 'containerd.log');
  }

  static async start(options: PrivateContainerdOptions): Promise<PrivateContainerd> {
    const containerd = new PrivateContainerd(options);
    await mkdir(options.directory, { recursive: true });
    const plugins = Object.entries(options.proxyPlugins ?? {}).map(
      ([name, address]) => `[proxy_plugins.${name}]\n  type = "snapshot"\n  address = "${address}"\n`,
    );
    const disabled = options.cri === undefined ? [CRI, ...DISABLED] : DISABLED;
    await writeFile(
      join(options.directory, 'config.toml'),
      `version = 2
root = "${options.directory}/root"
state = "${options.directory}/state"
disabled_plugins = [${disabled.map((name) => `"${name}"`).join(', ')}]
[grpc]
  address = "${containerd.socket}"
[ttrpc]
  address = "${containerd.socket}.ttrpc"
${plugins.join('')}${options.cri === undefined ? '' : criConfig(options.directory, options.cri)}`,
    );
    await containerd.resume();
    return containerd;
  }

  /** Starts the server again, on the same state, after `halt`. */
  async resume(): Promise<void> {
    const ready = async () => (await this.tryCtr(['version'])).code === 0;
    this.#server = await Server.start(
      {
        command: 'containerd',
        args: ['-c', join(this.#options.directory, 'config.toml'), '-l', 'info'],
        logFile: this.logFile,
        ...this.#where(),
        ...(this.#options.signal === undefined ? {} : { signal: this.#options.signal }),
      },
      ready,
    );
  }

  /** Ends the server, and with SIGKILL as a crash does; running containers stay. */
  async halt(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#server?.stop(signal);
  }

  /** Runs `ctr` in the namespace of its containers. @throws {Error} with what it printed when it fails. */
  async ctr(...args: string[]): Promise<string> {
    const { signal } = this.#options;
    return await run('ctr', this.#argv(args), {
      ...this.#where(),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async tryCtr(args: readonly string[], timeoutMs = 120_000): Promise<CommandResult> {
    return await tryRun('ctr', this.#argv(args), { ...this.#where(), timeoutMs });
  }

  #argv(args: readonly string[]): string[] {
    return ['-a', this.socket, '-n', this.#options.containerdNamespace ?? 'test', ...args];
  }

  #where(): { namespace?: string } {
    return this.#options.namespace === undefined ? {} : { namespace: this.#options.namespace };
  }

  /** Ends every container, then the server. */
  async [Symbol.asyncDispose](): Promise<void> {
    const containers = (await this.tryCtr(['containers', 'ls', '-q'])).stdout.split('\n').filter(Boolean);
    for (const id of containers) {
      await this.tryCtr(['task', 'rm', '-f', id]);
      await this.tryCtr(['containers', 'rm', id]);
    }
    await this.halt();
  }
}

function criConfig(directory: string, { certsDir, snapshotter }: CriOptions): string {
  const plugin = `plugins."${CRI}"`;
  return `[${plugin}]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [${plugin}.cni]
    bin_dir = "${directory}/cni"
    conf_dir = "${directory}/cni"
  [${plugin}.containerd]
    snapshotter = "${snapshotter}"
    disable_snapshot_annotations = false
  [${plugin}.registry]
    config_path = "${certsDir}"
`;
}
