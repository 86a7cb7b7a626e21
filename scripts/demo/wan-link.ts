import { type CommandOptions, Server, run } from '../lib/child.ts';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const WAN = new URL('wan/wan.ts', import.meta.url).pathname;
const NODE = new URL('../../bin/node', import.meta.url).pathname;

export interface LinkBytes {
  readonly down: number;
  readonly up: number;
}

/** In which network namespace the commands of a side run, and what ends them. */
export type Side = Required<Pick<CommandOptions, 'namespace' | 'signal'>>;

/** The emulated WAN as the demo uses it: two namespaces, a link whose round trip and rate can be set. */
export class WanLink implements AsyncDisposable {
  readonly cloud: Side;
  readonly edge: Side;
  readonly cloudAddress: string;
  readonly driver: string;
  readonly #server: Server;
  readonly #control: string;
  readonly #signal: AbortSignal;

  private constructor(
    server: Server,
    control: string,
    signal: AbortSignal,
    about: { cloud: string; edge: string; cloudAddress: string; driver: string },
  ) {
    this.#server = server;
    this.#control = control;
    this.#signal = signal;
    this.cloud = { namespace: about.cloud, signal };
    this.edge = { namespace: about.edge, signal };
    this.cloudAddress = about.cloudAddress;
    this.driver = about.driver;
  }

  /** A link without delay or limit, to prepare things over. */
  static async start(directory: string, signal: AbortSignal): Promise<WanLink> {
    const control = join(directory, 'wan.sock');
    const logFile = join(directory, 'wan.log');
    const firstLine = () =>
      readFileSync(logFile, 'utf8')
        .split('\n')
        .find((line) => line.startsWith('{'));
    const args = [WAN, 'up', '--rtt', '0', '--rate', '0', '--control', control, '--with-parent'];
    const server = await Server.start(
      { command: NODE, args, logFile, signal },
      async () => firstLine() !== undefined,
    );
    return new WanLink(server, control, signal, JSON.parse(firstLine() ?? '{}')); // its own program's words
  }

  async set(rttMs: number, rateMbit: number): Promise<void> {
    await this.#ask('set', `rtt=${rttMs}`, `rate=${rateMbit}`);
  }

  async reset(): Promise<void> {
    await this.#ask('reset');
  }

  /** IP bytes since the last reset. */
  async bytes(): Promise<LinkBytes> {
    const stats = JSON.parse(await this.#ask('stats')) as { down: { bytes: number }; up: { bytes: number } };
    return { down: stats.down.bytes, up: stats.up.bytes };
  }

  #ask(...words: string[]): Promise<string> {
    return run(NODE, [WAN, 'ask', '--control', this.#control, ...words], { signal: this.#signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
  }
}
