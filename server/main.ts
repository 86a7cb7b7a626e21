import { readFileSync } from 'node:fs';
import { loadConfig } from '../schemas/config/load.ts';
import { redactConfig } from '../schemas/config/redact.ts';
import { configOrExit } from '../schemas/process/config-or-exit.ts';
import { errorText } from '../schemas/process/error-text.ts';
import { shutDown, terminationSignal } from '../schemas/process/shutdown.ts';
import { createApp } from './app.ts';
import { checkServerConfig, ENV_PREFIX, type ServerConfig, ServerConfigSchema } from './config.ts';
import { exposures } from './exposure.ts';
import { Health } from './health.ts';
import { type HttpServer, listen } from './http-server.ts';
import { limitRequests } from './limits/limit-requests.ts';
import { PushRelay } from './jobs/push-relay.ts';
import { createLogger, type Logger } from './log.ts';
import { metricsRoute } from './metrics.ts';
import type { Part } from './part.ts';
import { registryPart } from './registry-part.ts';
import { FileSender } from './sendfile/file-sender.ts';
import { starlightPart } from './starlight.ts';
import { openTls } from './tls/open-tls.ts';
import { ownVersion } from './version.ts';

// The composition root of starlight-proxy: reads the configuration, wires, runs until SIGTERM.

const NAME = 'starlight-proxy';
const nowMs = () => performance.now();

/** A proxy that listens: registry traffic is served, and what needs the database once that has been opened. */
interface Listening {
  readonly server: HttpServer;
  readonly parts: readonly Part[];
  readonly files: FileSender | undefined;
  /** Opens the database. @throws where it cannot be opened, and the signal's reason. */
  readonly open: (signal: AbortSignal) => Promise<void>;
}

async function start(config: ServerConfig, logger: Logger): Promise<Listening> {
  const pushes = new PushRelay();
  const registry = await registryPart(config, logger, pushes.tell);
  // Extensions are wired here: each is a Part, and gets `registry.repositories` and what else it needs.
  const tls = config.tls === undefined ? undefined : await openTls(config.tls, logger);
  const starlight = await starlightPart(config, registry, pushes, logger);
  const parts: readonly Part[] = [...(tls === undefined ? [] : [tls]), registry, starlight];
  // What is encrypted has to pass through this process.
  const files = tls === undefined ? await openFileSender(config, logger) : undefined;
  let server: HttpServer | undefined;
  let starting = true;
  const health = new Health({
    checks: parts.flatMap((part) => part.checks),
    starting: () => starting,
    draining: () => server?.draining() === true,
    onChange: (check, error) => {
      if (error === undefined) logger.info({ check }, 'a check passes again');
      else logger.warn({ check, err: error }, 'a check fails');
    },
  });
  const metrics = [...health.metrics, ...parts.flatMap((part) => part.metrics ?? [])];
  const app = createApp({
    registry: registry.registry,
    distribution: files === undefined ? {} : { files },
    routes: [
      limitRequests(config.limits, nowMs),
      metricsRoute(metrics),
      ...parts.flatMap((part) => part.routes),
    ],
    health,
    logger,
    nowMs,
  });
  server = await listen(app.callback(), {
    ...config.listen,
    limits: config.limits,
    ...(tls === undefined ? {} : { tls: tls.options }),
    onSlow: (clients) => logger.warn({ clients }, 'cut clients whose bodies hardly moved'),
  });
  if (tls !== undefined) {
    tls.renew = server.secure;
    server.secure(tls.options); // it may have changed while all else started
  }
  const open = async (signal: AbortSignal) => {
    await starlight.open(signal);
    starting = false;
  };
  return { server, parts, files, open };
}

function openFileSender({ limits }: ServerConfig, logger: Logger): Promise<FileSender | undefined> {
  return FileSender.create(
    { bytesPerS: limits.bodyBytesPerS, graceMs: limits.bodyGraceMs },
    (error) => logger.error({ err: error }, 'the sending thread died: files are streamed from now on'),
    (reason) => logger.info({ reason: String(reason) }, 'no sendfile here: files are streamed'),
  );
}

function readConfig(): ServerConfig {
  return configOrExit(
    NAME,
    loadConfig({
      name: NAME,
      summary: 'A registry front that serves delta bundles beside the OCI distribution API.',
      version: ownVersion(),
      envPrefix: ENV_PREFIX,
      schema: ServerConfigSchema,
      argv: process.argv.slice(2),
      env: process.env,
      readFile: (path) => readFileSync(path, 'utf8'),
      check: checkServerConfig,
    }),
    process,
  );
}

function cannotStart(logger: Logger, error: unknown): void {
  logger.fatal({ err: error }, 'cannot start');
  process.stderr.write(`${NAME}: cannot start: ${errorText(error)}\n`);
}

async function main(): Promise<number> {
  const config = readConfig();
  const logger = createLogger(config.log.level);
  const terminated = terminationSignal(process);
  let listening: Listening;
  try {
    listening = await start(config, logger);
  } catch (error) {
    cannotStart(logger, error);
    return 1;
  }
  const { server, parts, files, open } = listening;
  process.on('SIGHUP', () => {
    logger.info('reading files again');
    for (const reload of parts.flatMap((part) => part.reloading ?? [])) void reload();
  });
  const { address, port } = server.address;
  for (const warning of exposures(config)) logger.warn(warning);
  logger.info({ address, port, config: redactConfig(ServerConfigSchema, config) }, 'listening');

  const ending = new AbortController();
  const ended = terminated.then((signal) => {
    logger.info({ signal }, 'draining');
    ending.abort(new DOMException('the proxy is ending', 'AbortError'));
  });
  let code = 0;
  try {
    await open(ending.signal);
    logger.info('ready');
    await ended;
  } catch (error) {
    if (!ending.signal.aborted) {
      cannotStart(logger, error);
      code = 1;
    }
  }
  const clean = await shutDown({
    steps: [
      { name: 'http', close: (cut) => server.close(cut) },
      ...(files === undefined ? [] : [{ name: 'sendfile', close: () => files.close() }]),
      ...parts.flatMap((part) => part.closing).reverse(),
    ],
    drainLimitMs: config.shutdown.drainLimitMs,
    onError: (step, error) => logger.error({ step, err: error }, 'closing failed'),
  });
  logger.info({ clean }, 'ended');
  return code;
}

// Explicit: a handle that somebody forgot must not keep a process that has ended its work.
process.exit(await main());
