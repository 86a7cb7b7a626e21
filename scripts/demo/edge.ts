import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ReportBody, StatusBody } from '../../worker/control/protocol.ts';
import { run, Server, tryRun } from '../lib/child.ts';
import { PrivateContainerd } from '../lib/containerd.ts';
import { unmountBelow } from '../lib/mounts.ts';
import { containerdNamespace } from './leftovers.ts';
import type { Side } from './wan-link.ts';

const BIN = new URL('../../bin/', import.meta.url).pathname;

export type Snapshotter = 'overlayfs' | 'starlight';

/** The edge's side: a containerd and a daemon, with nothing on their disks when they start. */
export class Edge implements AsyncDisposable {
  readonly #directory: string;
  readonly #side: Side;
  readonly #containerd: PrivateContainerd;
  readonly #daemon: Server;

  private constructor(directory: string, side: Side, containerd: PrivateContainerd, daemon: Server) {
    this.#directory = directory;
    this.#side = side;
    this.#containerd = containerd;
    this.#daemon = daemon;
  }

  /** `directory` is emptied first. */
  static async start(directory: string, registry: string, side: Side): Promise<Edge> {
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    const args = [
      ...['--root', join(directory, 'd'), '--proxy-url', `http://${registry}`],
      ...['--containerd-address', join(directory, 'c/containerd.sock')],
      ...['--snapshotter-socket', join(directory, 's.sock'), '--control-socket', join(directory, 'ctl.sock')],
    ];
    const status = ['--socket', join(directory, 'ctl.sock'), 'status'];
    const logFile = join(directory, 'daemon.log');
    const daemon = await Server.start(
      { command: `${BIN}starlight-daemon`, args, logFile, ...side },
      async () => (await tryRun(`${BIN}ctr-starlight`, status)).code === 0,
    );
    const proxyPlugins = { starlight: join(directory, 's.sock') };
    try {
      const containerd = await PrivateContainerd.start({
        directory: join(directory, 'c'),
        proxyPlugins,
        containerdNamespace: containerdNamespace(),
        ...side,
      });
      return new Edge(directory, side, containerd, daemon);
    } catch (error) {
      await daemon.stop();
      throw error;
    }
  }

  /** What a person would type to get the image. With Starlight it ends as soon as the image can be started. */
  async pull(snapshotter: Snapshotter, reference: string): Promise<void> {
    if (snapshotter === 'starlight') await this.cli('pull', '-n', containerdNamespace(), reference);
    else
      await this.#containerd.ctr('images', 'pull', '--plain-http', '--snapshotter', snapshotter, reference);
  }

  /** Ends when all of the image's contents are on the disk. */
  async settle(reference: string): Promise<void> {
    await this.cli('pull', '--wait', '-n', containerdNamespace(), reference);
  }

  async cli(...args: string[]): Promise<string> {
    const socket = ['--socket', join(this.#directory, 'ctl.sock')];
    return await run(`${BIN}ctr-starlight`, [...socket, ...args], this.#side);
  }

  async status(): Promise<StatusBody> {
    return JSON.parse(await this.cli('-o', 'json', 'status')) as StatusBody; // the daemon's own contract
  }

  /** Sends what the optimizer noted to the proxy. Gives how many opens that has taken. */
  async report(): Promise<number> {
    const { images } = JSON.parse(await this.cli('-o', 'json', 'report')) as ReportBody; // the daemon's own contract
    return images.reduce((sum, image) => sum + image.accepted, 0);
  }

  /** Starts a container and resolves with the line of its output that matches `ready`; it runs on. */
  async startUntil(snapshotter: Snapshotter, reference: string, id: string, ready: RegExp): Promise<string> {
    const logFile = join(this.#directory, `${id}.log`);
    const args = [
      '-a',
      this.#containerd.socket,
      '-n',
      containerdNamespace(),
      'run',
      '--net-host',
      '--snapshotter',
      snapshotter,
      reference,
      id,
    ];
    let line: string | undefined;
    await Server.start(
      { command: 'ctr', args, logFile, ...this.#side },
      async () => {
        line = (await readFile(logFile, 'utf8')).split('\n').find((text) => ready.test(text));
        return line !== undefined;
      },
      300_000,
    );
    return line ?? '';
  }

  /** Ends a container and forgets it. */
  async stopContainer(id: string): Promise<void> {
    await this.#containerd.tryCtr(['task', 'rm', '-f', id]);
    await this.#containerd.tryCtr(['containers', 'rm', id]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#containerd[Symbol.asyncDispose]();
    await this.#daemon.stop();
    await unmountBelow(this.#directory);
  }
}
