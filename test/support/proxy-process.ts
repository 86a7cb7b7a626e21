import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Server } from '../../scripts/lib/child.ts';
import { until } from './until.ts';

const PROXY = new URL('../../bin/starlight-proxy', import.meta.url).pathname;
/** Making a database anew takes long on a busy machine. */
const START_LIMIT_MS = 90_000;
let started = 0;

/** A real proxy in a process of its own, its files in `directory`, on a free port. */
export class ProxyProcess implements AsyncDisposable {
  readonly port: number;
  readonly server: Server;
  readonly storageDir: string;

  private constructor(port: number, server: Server, storageDir: string) {
    this.port = port;
    this.server = server;
    this.storageDir = storageDir;
  }

  /** Started again on the same directory, it goes on where it was. Returns once it has logged `reached`. */
  static async start(
    directory: string,
    flags: readonly string[] = [],
    reached = 'ready',
  ): Promise<ProxyProcess> {
    await mkdir(directory, { recursive: true });
    started += 1;
    const logFile = join(directory, `proxy-${started}.log`);
    const storageDir = join(directory, 'registry');
    const port = async () => {
      const match = /^.*"msg":"listening".*$/m.exec(await readFile(logFile, 'utf8'));
      return match === null ? undefined : (JSON.parse(match[0]) as { port: number }).port;
    };
    const server = await Server.start(
      {
        command: PROXY,
        args: [
          ...['--listen-port', '0', '--storage-dir', storageDir, '--database-dir', join(directory, 'db')],
          ...flags,
        ],
        logFile,
      },
      async (printed) => printed().includes(`"msg":"${reached}"`),
      START_LIMIT_MS,
    );
    return new ProxyProcess((await port()) ?? 0, server, storageDir);
  }

  /** `127.0.0.1:<port>`, as references name it. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** Waits for a line of the log; that of a request is written after its answer. */
  async logged(pattern: RegExp): Promise<void> {
    await until(
      async () => pattern.test(this.server.log()) || undefined,
      () => `no ${pattern} in the log:\n${this.server.log()}`,
    );
  }

  /** Makes `peakBytes` count from here on: what starting took is over. */
  async resetPeak(): Promise<void> {
    await writeFile(`/proc/${this.server.pid}/clear_refs`, '5'); // proc(5)
  }

  /** The most memory that the process has had. */
  async peakBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.server.pid}/status`, 'utf8');
    return Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}
