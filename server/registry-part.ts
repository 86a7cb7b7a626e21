import type { RepositoryChoice } from '../extensions/starlight/repository-choice.ts';
import type { RegistryReader } from '../extensions/starlight/registry-reader.ts';
import { openAccess } from './access/open-access.ts';
import type { JobRegistry } from '../extensions/starlight/jobs/job-registry.ts';
import type { UpstreamList } from '../schemas/upstreams/upstream-list.ts';
import type { ServerConfig } from './config.ts';
import { embeddedJobRegistry, upstreamJobRegistry } from './jobs/open-job-registry.ts';
import type { PushListener } from './jobs/push-relay.ts';
import { PushWatch } from './jobs/push-watch.ts';
import type { Logger } from './log.ts';
import { Mirrors } from './mirror/mirrors.ts';
import type { Part } from './part.ts';
import { EmbeddedReader } from './registry/embedded/embedded-reader.ts';
import { EmbeddedRegistry } from './registry/embedded/embedded-registry.ts';
import { UploadSweep } from './registry/embedded/upload-sweep.ts';
import type { Registry } from './registry/registry.ts';
import { ReferrersFallback } from './upstream/referrers-fallback.ts';
import { TagsPaging } from './upstream/tags-paging.ts';
import { repositoryName } from './registry/repository-name.ts';
import { type Route, RouteTable } from './routing/route-table.ts';
import { RoutingRegistry } from './routing/routing-registry.ts';
import { AuthorisingClient } from './upstream/authorising-client.ts';
import { UpstreamClient, type UpstreamRequest } from './upstream/upstream-client.ts';
import type { UpstreamConfig } from './upstream/upstream-config.ts';
import { upstreamList } from './upstream/upstream-list.ts';
import { upstreamPlans } from './upstream/upstream-plan.ts';
import { UpstreamReader } from './upstream/upstream-reader.ts';
import { UpstreamRegistry } from './upstream/upstream-registry.ts';

/** What listing an upstream's repositories needs (the distribution project's token scopes). */
const CATALOG_ACCESS = 'registry:catalog:*';

/** The registries that are fronted: as clients ask them, and as the extensions read them. */
export interface RegistryPart extends Part {
  readonly registry: Registry;
  readonly repositories: RepositoryChoice;
  /** As clients may know them. */
  readonly upstreams: UpstreamList;
  /** As jobs use them, by their keys. */
  readonly jobRegistries: ReadonlyMap<string, JobRegistry>;
  /** That a caller may know of a repository's extensions, or of those of the whole. */
  readonly mayDiscover: (name: string | undefined, authorization: string | undefined) => Promise<void>;
}

/** One of them. */
interface FrontedRegistry extends Pick<Part, 'checks' | 'closing' | 'reloading'> {
  readonly registry: Registry;
  readonly reader: RegistryReader;
  /** The same as jobs use it. */
  readonly jobs: JobRegistry;
  /** That a caller may know of a repository's extensions, or of those of the whole; undefined: everybody may. */
  readonly mayDiscover?: (name: string | undefined, authorization: string | undefined) => Promise<void>;
}

/** All registries of the configuration behind one router. @throws where one of them cannot be used. */
export async function registryPart(
  config: ServerConfig,
  logger: Logger,
  onPush: PushListener,
): Promise<RegistryPart> {
  const mirrors = await Mirrors.open(config.mirror, logger);
  const fronted: (FrontedRegistry & { readonly key: string; readonly route: Route })[] = [];
  const plans = upstreamPlans(config);
  for (const { key, route, config: upstream } of plans) {
    const opened =
      upstream === undefined
        ? await openEmbedded(config, logger)
        : await openUpstream(key, upstream, mirrors, config);
    const { registry } = opened;
    const watched = config.events.pushes
      ? new PushWatch(registry, (pushed) => onPush(key, pushed))
      : registry;
    fronted.push({ ...opened, registry: watched, key, route });
  }
  const table = new RouteTable(fronted, config.listen.names);
  return {
    registry: new RoutingRegistry(table),
    repositories: (namespace, text, host) => {
      const name = repositoryName(text);
      const choice = name && table.choose(table.namespace(namespace, host), name);
      return choice && { registry: choice.target.key, name: choice.name, reader: choice.target.reader };
    },
    mayDiscover: async (text, authorization) => {
      const name = text === undefined ? undefined : repositoryName(text);
      const choice = name && table.choose(undefined, name);
      const target = choice?.target ?? table.target(undefined);
      await target?.mayDiscover?.(choice?.name, authorization);
    },
    upstreams: upstreamList(plans),
    jobRegistries: new Map(fronted.map(({ key, jobs }) => [key, jobs])),
    routes: [],
    metrics: mirrors.metrics,
    checks: fronted.flatMap(({ checks }) => checks),
    closing: [...fronted.flatMap(({ closing }) => closing), { name: 'mirror', close: () => mirrors.close() }],
    reloading: fronted.flatMap(({ reloading }) => reloading ?? []),
  };
}

/**
 * One upstream, from the inside out. What stands between it and the router is put around `registry` here: first what
 * fills in for what it lacks, then what spares it, so that the latter keeps what the former made.
 */
async function openUpstream(
  key: string,
  upstream: UpstreamConfig,
  mirrors: Mirrors,
  { limits, events }: ServerConfig,
): Promise<FrontedRegistry> {
  const { url } = upstream;
  const client = new UpstreamClient(upstream);
  const authorised = new AuthorisingClient(upstream, client);
  const passing = new UpstreamRegistry(url, client, authorised);
  const whole = completed(passing, limits.manifestBytes);
  const { guarded, kept: registry } = await mirrors.before(key, url, whole);
  const reader = new UpstreamReader({ asked: guarded, kept: registry });
  const send = (request: UpstreamRequest) => authorised.send(request, CATALOG_ACCESS);
  return {
    registry,
    reader,
    jobs: upstreamJobRegistry(url, events.credentialsFile, { registry, reader, send }),
    // An upstream that is down must not take the proxy out of service: what is answered without it still is.
    checks: [],
    closing: [{ name: `upstream ${key}`, close: () => client.close() }],
  };
}

async function openEmbedded(config: ServerConfig, logger: Logger): Promise<FrontedRegistry> {
  const registry = new EmbeddedRegistry(config.storage.dir, Date.now, config.limits, config.storage);
  await registry.ready();
  const access = await openAccess(config.access, logger);
  const sweep = new UploadSweep(registry, {
    uploadAgeMs: config.limits.uploadAgeMs,
    onRemoved: (uploads) => logger.info({ uploads }, 'abandoned uploads removed'),
    onError: (error) => logger.warn({ err: error }, 'abandoned uploads not removed'),
  });
  const sweeping = { name: 'uploads', close: () => sweep[Symbol.asyncDispose]() };
  const reader = new EmbeddedReader(registry);
  const common = {
    checks: [{ name: 'storage', required: true, check: () => registry.ready() }],
    jobs: embeddedJobRegistry(config.storage.dir, registry, reader),
  };
  if (access === undefined) return { ...common, registry, reader, closing: [sweeping] };
  return {
    ...common,
    registry: access.registry(registry),
    reader: access.reader(reader),
    mayDiscover: access.mayDiscover,
    closing: [sweeping, { name: 'access', close: async () => await access[Symbol.asyncDispose]() }],
    reloading: [access.reload],
  };
}

/** What an upstream may lack of the distribution API, filled. */
function completed(upstream: Registry, manifestBytes: number): Registry {
  return new ReferrersFallback(new TagsPaging(upstream), manifestBytes);
}
