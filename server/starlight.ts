import type { BundleCache } from '../extensions/starlight/bundle-cache.ts';
import { DeltaService } from '../extensions/starlight/delta.ts';
import { ImageStore } from '../extensions/starlight/image-store.ts';
import { Ingester, type IngestEvent } from '../extensions/starlight/ingest.ts';
import { systemClock } from '../extensions/starlight/jobs/clock.ts';
import { JOB_LIMITS } from '../extensions/starlight/jobs/job-queue.ts';
import { Reporter } from '../extensions/starlight/report.ts';
import { starlightRoutes } from '../extensions/starlight/routes.ts';
import { redactUrl } from '../schemas/config/redact.ts';
import { MemoryBundleCache } from './cache/memory-cache.ts';
import { RedisBundleCache } from './cache/redis-cache.ts';
import type { ServerConfig } from './config.ts';
import { type AwaitOptions, awaitDatabase } from './directory/await-database.ts';
import { type PendingStores, prepareStores } from './directory/open.ts';
import { jobsPart } from './jobs/jobs-part.ts';
import type { PushRelay } from './jobs/push-relay.ts';
import type { Logger } from './log.ts';
import type { Part } from './part.ts';
import type { RegistryPart } from './registry-part.ts';
import { ownVersion } from './version.ts';

/** Unpacked images that are kept in memory, all together. */
const IMAGES_BYTES = 256 * 1024 * 1024;

export interface StarlightPart extends Part {
  /**
   * Opens the database, waiting for it as long as configured, and begins the work behind it. Until then the routes answer
   * that the directory is unavailable.
   * @throws where it cannot be opened, and the signal's reason.
   */
  readonly open: (signal: AbortSignal) => Promise<void>;
}

/** Wires the Starlight extension: its directory, its cache, and its routes over the registries that are fronted. */
export async function starlightPart(
  config: ServerConfig,
  {
    repositories,
    upstreams,
    jobRegistries,
    mayDiscover,
  }: Pick<RegistryPart, 'repositories' | 'upstreams' | 'jobRegistries' | 'mayDiscover'>,
  pushes: PushRelay,
  logger: Logger,
): Promise<StarlightPart> {
  const { directory, jobs: queue, migrate } = await storesOf(config, logger);
  const { cache, checks } = openCache(config, logger);
  const images = new ImageStore(directory, IMAGES_BYTES);
  const ingester = new Ingester({
    directory,
    images,
    onEnd: (event) => logIngest(logger, event),
    onStartUnknown: (error) => logger.warn({ err: error }, 'what an image opens first is not known'),
  });
  const onError = (error: unknown) => logger.warn({ err: error }, 'beside a delta bundle');
  const delta = new DeltaService({ directory, images, ingester, cache, onError });
  const reporter = new Reporter(directory, images);

  const { token } = config.starlight;
  const jobs = jobsPart({
    ...{ config, directory, queue, ingester, pushes, logger, registries: jobRegistries },
    repositoryOf: repositories,
    version: ownVersion(),
  });
  const maxJsonBytes = config.limits.jsonBytes;
  return {
    async open(signal) {
      await awaitDatabase(migrate, waiting(config, logger), signal);
      jobs.start();
    },
    routes: [
      starlightRoutes({
        ...{ repositories, upstreams, delta, ingester, reporter, token },
        ...{ maxJsonBytes, mayDiscover },
      }),
      ...jobs.routes,
    ],
    checks: [{ name: 'directory', required: false, check: (signal) => directory.ping(signal) }, ...checks],
    closing: [
      { name: 'directory', close: () => directory.close() },
      { name: 'cache', close: () => cache.close() },
      { name: 'ingest', close: async () => ingester.close() },
      ...jobs.closing,
    ],
  };
}

async function storesOf({ database, events }: ServerConfig, logger: Logger): Promise<PendingStores> {
  const store = { jobLimits: { ...JOB_LIMITS, leaseMs: events.leaseMs } };
  if (database.url === undefined) return await prepareStores({ kind: 'pglite', path: database.dir }, store);
  const onIdleError = (error: unknown) =>
    logger.warn({ err: error }, 'a connection to the directory database broke');
  const { url, connections: maxConnections } = database;
  return await prepareStores({ kind: 'postgres', url, maxConnections, onIdleError }, store);
}

function waiting({ database }: ServerConfig, logger: Logger): AwaitOptions {
  const { url = '', waitLimitMs: limitMs } = database;
  return {
    limitMs,
    clock: { ...systemClock, nowMs: () => performance.now() },
    random: Math.random,
    onWait: (error) => {
      const until = new Date(Date.now() + limitMs).toISOString();
      const what = 'waiting for the directory database; registry traffic is served meanwhile';
      logger.warn({ database: redactUrl(url), until, err: error }, what);
    },
  };
}

function openCache(
  { cache }: ServerConfig,
  logger: Logger,
): Pick<Part, 'checks'> & { readonly cache: BundleCache } {
  const limits = { maxBytes: cache.maxBytes, maxValueBytes: cache.maxBundleBytes, ttlMs: cache.ttlMs };
  if (cache.redisUrl === undefined) return { cache: new MemoryBundleCache(limits), checks: [] };
  const onError = (error: unknown) => logger.warn({ err: error }, 'the bundle cache does not answer');
  const redis = new RedisBundleCache({ ...limits, url: cache.redisUrl, onError });
  return {
    cache: redis,
    checks: [{ name: 'cache', required: false, check: (signal) => redis.ping(signal) }],
  };
}

function logIngest(logger: Logger, { name, reference, durationMs, result, error }: IngestEvent): void {
  const fields = { name, reference, durationMs: Math.round(durationMs) };
  if (error === undefined) logger.info({ ...fields, images: result?.images }, 'ingested');
  else logger.warn({ ...fields, err: error }, 'not ingested');
}
