import Koa, { type Middleware } from 'koa';
import { isConnectionLost } from '../schemas/process/system-error.ts';
import { type DistributionOptions, distributionRoutes } from './distribution/distribution-routes.ts';
import { type Health, healthRoutes } from './health.ts';
import type { Logger } from './log.ts';
import type { Registry } from './registry/registry.ts';
import { RegistryError } from './registry/registry-error.ts';
import { requestLog } from './request-log.ts';
import type { RequestState } from './request-state.ts';

export interface AppOptions {
  readonly registry: Registry;
  readonly distribution: DistributionOptions;
  /**
   * What extensions answer, asked in this order and before the registry; each calls `next` for what is not its
   * own. They find `ctx.state.signal`, and throw RegistryError or RegistryReadError to be answered as
   * `errors.ts` says.
   */
  readonly routes: readonly Middleware<RequestState>[];
  readonly health: Health;
  readonly logger: Logger;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** The proxy as a Koa application: health, extensions, the distribution API, in this order. */
export function createApp(options: AppOptions): Koa<RequestState> {
  const { registry, distribution, routes, health, logger, nowMs } = options;
  const app = new Koa<RequestState>();
  app.on('error', (error: unknown) => {
    // The log's own line says of a request that it was cut; Koa hears of the broken connection as well.
    if (!isConnectionLost(error)) logger.error({ err: error }, 'unexpected error');
  });
  app.use(requestLog(logger, nowMs));
  app.use(healthRoutes(health));
  for (const route of routes) app.use(route);
  app.use(distributionRoutes(registry, distribution));
  app.use(() => {
    throw new RegistryError({ kind: 'endpoint-unknown' });
  });
  return app;
}
