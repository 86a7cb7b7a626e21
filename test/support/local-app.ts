import { pino } from 'pino';
import { createApp } from '../../server/app.ts';
import { type HttpServer, listen } from '../../server/http-server.ts';
import type { Registry } from '../../server/registry/registry.ts';
import { type Route, RouteTable } from '../../server/routing/route-table.ts';
import { RoutingRegistry } from '../../server/routing/routing-registry.ts';
import { healthy } from './healthy.ts';

export interface LocalAppOptions {
  readonly namespace?: string;
  /** Takes the log, one line at a time. */
  readonly onLog?: (line: string) => void;
}

/** The proxy's application over `registry` on a free loopback port, in this process. */
export class LocalApp implements AsyncDisposable {
  readonly url: string;
  readonly #server: HttpServer;

  private constructor(server: HttpServer) {
    this.#server = server;
    this.url = `http://127.0.0.1:${server.address.port}`;
  }

  static async start(registry: Registry, { namespace, onLog }: LocalAppOptions = {}): Promise<LocalApp> {
    const hosts = namespace === undefined ? 'any' : [namespace];
    const route: Route = { hosts, isDefault: true };
    const app = createApp({
      registry: new RoutingRegistry(new RouteTable([{ route, registry }])),
      distribution: {},
      routes: [],
      health: healthy,
      logger: pino({ level: onLog === undefined ? 'silent' : 'info' }, { write: onLog ?? (() => undefined) }),
      nowMs: () => performance.now(),
    });
    return new LocalApp(await listen(app.callback(), { host: '127.0.0.1', port: 0, idleTimeoutMs: 60_000 }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.close(AbortSignal.abort());
  }
}
