import { join } from 'node:path';
import { answers, run, Server } from '../lib/child.ts';
import type { Side } from './wan-link.ts';

const BIN = new URL('../../bin/', import.meta.url).pathname;
const PORT = 8090;
/** A database made anew, on a busy machine. */
const READY_LIMIT_MS = 60_000;

/** The cloud's side: a proxy with its embedded registry and database. */
export class Cloud implements AsyncDisposable {
  /** `address:port`, as image references name it. */
  readonly registry: string;
  readonly #side: Side;
  readonly #proxy: Server;

  private constructor(registry: string, side: Side, proxy: Server) {
    this.registry = registry;
    this.#side = side;
    this.#proxy = proxy;
  }

  static async start(directory: string, address: string, side: Side): Promise<Cloud> {
    const registry = `${address}:${PORT}`;
    const args = [
      ...['--listen-host', address, '--listen-port', String(PORT)],
      ...['--storage-dir', join(directory, 'registry'), '--database-dir', join(directory, 'database')],
    ];
    const logFile = join(directory, 'proxy.log');
    const ready = answers(`http://${registry}/readyz`, side.namespace);
    const proxy = await Server.start(
      { command: `${BIN}starlight-proxy`, args, logFile, ...side },
      ready,
      READY_LIMIT_MS,
    );
    return new Cloud(registry, side, proxy);
  }

  /** Copies an image of a layout to the registry as it is. */
  async push(layout: string, tag: string, name: string): Promise<void> {
    const flags = ['--insecure-policy', 'copy', '-q', '--preserve-digests', '--dest-tls-verify=false'];
    await run('skopeo', [...flags, `oci:${layout}:${tag}`, `docker://${this.registry}/${name}`], this.#side);
  }

  /** Converts an image of the registry, and has the proxy ingest it. */
  async convert(from: string, to: string): Promise<string> {
    const flags = [
      '--notify',
      '--proxy',
      `http://${this.registry}`,
      '--insecure-source',
      '--insecure-destination',
    ];
    const args = ['convert', ...flags, `${this.registry}/${from}`, `${this.registry}/${to}`];
    return await run(`${BIN}ctr-starlight`, args, this.#side);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#proxy.stop();
  }
}
