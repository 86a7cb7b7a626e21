import { pino } from 'pino';
import type { BundleCache } from '../../../extensions/starlight/bundle-cache.ts';
import { DeltaService } from '../../../extensions/starlight/delta.ts';
import type { Directory } from '../../../extensions/starlight/directory.ts';
import { ImageStore } from '../../../extensions/starlight/image-store.ts';
import { Ingester } from '../../../extensions/starlight/ingest.ts';
import type { RegistryReader } from '../../../extensions/starlight/registry-reader.ts';
import type { RepositoryChoice } from '../../../extensions/starlight/repository-choice.ts';
import { Reporter } from '../../../extensions/starlight/report.ts';
import { starlightRoutes } from '../../../extensions/starlight/routes.ts';
import { createApp } from '../../../server/app.ts';
import { MemoryBundleCache } from '../../../server/cache/memory-cache.ts';
import { upstreamList } from '../../../server/upstream/upstream-list.ts';
import { type HttpServer, listen } from '../../../server/http-server.ts';
import { healthy } from '../../support/healthy.ts';

export interface StarlightAppOptions {
  readonly directory: Directory;
  readonly reader: RegistryReader;
  readonly cache?: BundleCache;
  readonly token?: string;
  /** The host that the registry stands for; without it all do. */
  readonly namespace?: string;
}

/** The extension's routes within the proxy's application, on a free loopback port. */
export class StarlightApp implements AsyncDisposable {
  readonly url: string;
  /** What failed beside the answers. */
  readonly errors: readonly unknown[];
  readonly #server: HttpServer;
  readonly #ingester: Ingester;

  private constructor(server: HttpServer, ingester: Ingester, errors: readonly unknown[]) {
    this.errors = errors;
    this.#server = server;
    this.#ingester = ingester;
    this.url = `http://127.0.0.1:${server.address.port}`;
  }

  static async start({
    directory,
    reader,
    cache,
    token,
    namespace,
  }: StarlightAppOptions): Promise<StarlightApp> {
    const images = new ImageStore(directory, 1 << 26);
    const ingester = new Ingester({ directory, images });
    const limits = { maxBytes: 1 << 26, maxValueBytes: 1 << 24, ttlMs: 3_600_000 };
    const errors: unknown[] = [];
    const delta = new DeltaService({
      directory,
      images,
      ingester,
      cache: cache ?? new MemoryBundleCache(limits),
      onError: (error) => errors.push(error),
    });
    const repositories: RepositoryChoice = (ns, name) =>
      ns === undefined || namespace === undefined || ns === namespace
        ? { registry: 'origin', name, reader }
        : undefined;
    const upstreams = upstreamList([
      { key: 'origin', name: 'origin', route: { hosts: 'any', isDefault: true }, config: undefined },
    ]);
    const reporter = new Reporter(directory, images);
    const app = createApp({
      registry: { answer: () => Promise.resolve({ status: 418, headers: [] }) },
      distribution: {},
      routes: [starlightRoutes({ repositories, upstreams, delta, ingester, reporter, token })],
      health: healthy,
      logger: pino({ level: 'silent' }),
      nowMs: () => performance.now(),
    });
    const server = await listen(app.callback(), { host: '127.0.0.1', port: 0, idleTimeoutMs: 60_000 });
    return new StarlightApp(server, ingester, errors);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ingester.close();
    await this.#server.close(AbortSignal.abort());
  }
}
