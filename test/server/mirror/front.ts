import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MirrorConfig } from '../../../server/config.ts';
import { Mirrors } from '../../../server/mirror/mirrors.ts';
import { AuthorisingClient } from '../../../server/upstream/authorising-client.ts';
import { UpstreamClient } from '../../../server/upstream/upstream-client.ts';
import type { UpstreamConfig } from '../../../server/upstream/upstream-config.ts';
import { UpstreamRegistry } from '../../../server/upstream/upstream-registry.ts';
import { LocalApp } from '../../support/local-app.ts';
import { upstreamConfig } from '../../support/upstream-config.ts';
import { Origin } from './origin.ts';

export interface FrontOptions {
  readonly mirror?: Partial<MirrorConfig>;
  readonly upstream?: Partial<UpstreamConfig>;
  /** Kept when the front goes: whoever made it removes it. */
  readonly dir?: string;
  readonly origin?: Origin;
}

const MIRROR: Omit<MirrorConfig, 'dir'> = {
  maxBytes: 256 << 20,
  grantMs: 600_000,
  tagMs: 600_000,
  staleMs: 600_000,
  circuitFailures: 5,
  circuitOpenMs: 600_000,
};

/** The proxy in this process with a mirror before an origin, all on disk and over HTTP. */
export class Front implements AsyncDisposable {
  readonly origin: Origin;
  readonly mirrors: Mirrors;
  readonly dir: string;
  readonly log: string[];
  readonly #app: LocalApp;
  readonly #client: UpstreamClient;
  readonly #options: FrontOptions;

  private constructor(
    parts: {
      origin: Origin;
      mirrors: Mirrors;
      dir: string;
      log: string[];
      app: LocalApp;
      client: UpstreamClient;
    },
    options: FrontOptions,
  ) {
    this.origin = parts.origin;
    this.mirrors = parts.mirrors;
    this.dir = parts.dir;
    this.log = parts.log;
    this.#app = parts.app;
    this.#client = parts.client;
    this.#options = options;
  }

  static async start(options: FrontOptions = {}): Promise<Front> {
    const origin = options.origin ?? (await Origin.start());
    const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'starlight-mirror-')));
    const log: string[] = [];
    const upstream = upstreamConfig(origin.url, {
      readTimeoutMs: 30_000,
      headerTimeoutMs: 30_000,
      idleTimeoutMs: 30_000,
      connections: 128,
      ...options.upstream,
    });
    const client = new UpstreamClient(upstream);
    const mirrors = await Mirrors.open(
      { dir, ...MIRROR, ...options.mirror },
      { warn: (fields, message) => log.push(`${message} ${JSON.stringify(fields)}`) },
    );
    const authorised = new AuthorisingClient(upstream, client);
    const passing = new UpstreamRegistry(upstream.url, client, authorised);
    const { kept } = await mirrors.before('origin', upstream.url, passing);
    const app = await LocalApp.start(kept);
    return new Front({ origin, mirrors, dir, log, app, client }, options);
  }

  get url(): string {
    return this.#app.url;
  }

  async get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Response> {
    return await fetch(`${this.url}/v2/${path}`, { headers, method });
  }

  async bytes(path: string, headers: Record<string, string> = {}): Promise<Buffer> {
    return Buffer.from(await (await this.get(path, headers)).arrayBuffer());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#app[Symbol.asyncDispose]();
    await this.mirrors.close();
    await this.#client.close();
    if (this.#options.origin === undefined) await this.origin[Symbol.asyncDispose]();
    if (this.#options.dir === undefined) await rm(this.dir, { recursive: true, force: true });
  }
}
