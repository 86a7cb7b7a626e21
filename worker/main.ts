import { readFileSync } from 'node:fs';
import { destination, pino } from 'pino';
import { loadConfig } from '../schemas/config/load.ts';
import { redactConfig } from '../schemas/config/redact.ts';
import { configOrExit } from '../schemas/process/config-or-exit.ts';
import { errorText } from '../schemas/process/error-text.ts';
import { shutDown, terminationSignal } from '../schemas/process/shutdown.ts';
import { checkWorkerConfig, ENV_PREFIX, WorkerConfigSchema } from './config.ts';
import { startDaemon } from './daemon.ts';

const NAME = 'starlight-daemon';
/** Threads that still wait in a driver must not keep the process when everything else is closed. */
const EXIT_LIMIT_MS = 2000;
const KEEP_AWAKE_MS = 60_000;

const packageFile = new URL('../package.json', import.meta.url);
const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }; // our own file
const config = configOrExit(
  NAME,
  loadConfig({
    name: NAME,
    summary:
      'The worker: a snapshotter for containerd whose images start before their contents have arrived.',
    version,
    envPrefix: ENV_PREFIX,
    schema: WorkerConfigSchema,
    argv: process.argv.slice(2),
    env: process.env,
    readFile: (path) => readFileSync(path, 'utf8'),
    check: checkWorkerConfig,
  }),
  process,
);
const log = pino({ name: NAME, level: config.log.level }, destination({ dest: 2, sync: true }));
log.info({ version, config: redactConfig(WorkerConfigSchema, config) }, 'starting');

const terminated = terminationSignal(process);
// Before the sockets listen, and after they are closed, nothing else may hold the event loop while threads work.
const awake = setInterval(() => {}, KEEP_AWAKE_MS);
try {
  const daemon = await startDaemon({ config, version, log, nowMs: Date.now });
  log.info({ control: config.control.socket, snapshotter: config.snapshotter.socket }, 'ready');
  log.info({ signal: await terminated }, 'stopping');
  const clean = await shutDown({
    steps: daemon.steps,
    drainLimitMs: config.shutdown.drainLimitMs,
    onError: (step, error) => log.error({ err: error, step }, 'closing failed'),
  });
  log.info({ clean }, 'stopped');
  process.exitCode = clean ? 0 : 1;
} catch (error) {
  log.fatal({ err: error }, 'cannot start');
  process.stderr.write(`${NAME}: cannot start: ${errorText(error)}\n`);
  process.exitCode = 1;
}
clearInterval(awake);
setTimeout(() => process.exit(), EXIT_LIMIT_MS).unref();
