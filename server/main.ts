import { readFileSync } from 'node:fs';
import type { Middleware } from 'koa';
import type { RegistryReader } from '../extensions/starlight/registry-reader.ts';
import { loadConfig } from '../schemas/config/load.ts';
import { redactConfig } from '../schemas/config/redact.ts';
import { configOrExit } from '../schemas/process/config-or-exit.ts';
import { type ShutdownStep, shutDown, terminationSignal } from '../schemas/process/shutdown.ts';
import { createApp } from './app.ts';
import { checkServerConfig, ENV_PREFIX, type ServerConfig, ServerConfigSchema } from './config.ts';
import type { ReadinessCheck } from './health.ts';
import { type HttpServer, listen } from './http-server.ts';
import { createLogger } from './log.ts';
import { EmbeddedReader } from './registry/embedded/embedded-reader.ts';
import { EmbeddedRegistry } from './registry/embedded/embedded-registry.ts';
import type { Registry } from './registry/registry.ts';
import type { RequestState } from './request-state.ts';
import { starlightPart } from './starlight.ts';
import { UpstreamClient } from './upstream/upstream-client.ts';
import { UpstreamReader } from './upstream/upstream-reader.ts';
import { UpstreamRegistry } from './upstream/upstream-registry.ts';

/** Something wired: what it adds to the process. Steps are closed in reverse order, after the HTTP server. */
interface Part {
  readonly routes: readonly Middleware<RequestState>[];
  readonly checks: readonly ReadinessCheck[];
  readonly closing: readonly ShutdownStep[];
}

function registryPart(
  config: ServerConfig,
): Part & { readonly registry: Registry; readonly reader: RegistryReader } {
  if (config.upstream !== undefined) {
    const client = new UpstreamClient(config.upstream);
    return {
      registry: new UpstreamRegistry(config.upstream, client),
      reader: new UpstreamReader(config.upstream.url, client),
      routes: [],
      checks: [],
      closing: [{ name: 'upstream', close: () => client.close() }],
    };
  }
  const registry = new EmbeddedRegistry(config.storage.dir, Date.now);
  return {
    registry,
    reader: new EmbeddedReader(registry),
    routes: [],
    checks: [{ name: 'storage', check: () => registry.ready() }],
    closing: [],
  };
}

const NAME = 'starlight-proxy';
const packageFile = new URL('../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }; // our own file
const config = configOrExit(
  NAME,
  loadConfig({
    name: NAME,
    summary: 'A registry front that serves delta bundles beside the OCI distribution API.',
    version,
    envPrefix: ENV_PREFIX,
    schema: ServerConfigSchema,
    argv: process.argv.slice(2),
    env: process.env,
    readFile: (path) => readFileSync(path, 'utf8'),
    check: checkServerConfig,
  }),
  process,
);
const logger = createLogger(config.log.level);
const terminated = terminationSignal(process);

const registry = registryPart(config);
await Promise.all(registry.checks.map((one) => one.check(AbortSignal.timeout(10_000))));
// Extensions are wired here: each gets `registry.reader` and what else it needs, and is a Part of the list.
const parts: readonly Part[] = [registry, await starlightPart(config, registry.reader, logger)];

let server: HttpServer | undefined;
const app = createApp({
  registry: registry.registry,
  distribution: config.upstream?.namespace === undefined ? {} : { namespace: config.upstream.namespace },
  routes: parts.flatMap((part) => part.routes),
  health: {
    checks: parts.flatMap((part) => part.checks),
    draining: () => server?.draining() === true,
    onFailure: (check, error) => logger.warn({ check, err: error }, 'not ready'),
  },
  logger,
  nowMs: () => performance.now(),
});
const running = await listen(app.callback(), config.listen);
server = running;
logger.info(
  {
    address: running.address.address,
    port: running.address.port,
    config: redactConfig(ServerConfigSchema, config),
  },
  'listening',
);

const signal = await terminated;
logger.info({ signal }, 'draining');
const clean = await shutDown({
  steps: [
    { name: 'http', close: (cut) => running.close(cut) },
    ...parts.flatMap((part) => part.closing).reverse(),
  ],
  drainLimitMs: config.shutdown.drainLimitMs,
  onError: (step, error) => logger.error({ step, err: error }, 'closing failed'),
});
logger.info({ clean }, 'ended');
process.exitCode = 0;
