import type { RegistryReader } from '../extensions/starlight/registry-reader.ts';
import { openAccess } from './access/open-access.ts';
import type { JobRegistry } from '../extensions/starlight/jobs/job-registry.ts';
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
import { UpstreamClient } from './upstream/upstream-client.ts';
import { UpstreamReader } from './upstream/upstream-reader.ts';
import { UpstreamRegistry } from './upstream/upstream-registry.ts';

/** The registry that is fronted: as clients ask it, and as the extensions read it. */
export interface RegistryPart extends Part {
  readonly registry: Registry;
  readonly reader: RegistryReader;
  /** The same by its key, as jobs use it. */
  readonly jobRegistries: ReadonlyMap<string, JobRegistry>;
  /** That a caller may know of a repository's extensions, or of those of the whole; undefined: everybody may. */
  readonly mayDiscover?: (name: string | undefined, authorization: string | undefined) => Promise<void>;
}

/** The upstream where one is configured, else the embedded registry. @throws where that cannot be used. */
export async function registryPart(
  config: ServerConfig,
  logger: Logger,
  onPush: PushListener,
): Promise<RegistryPart> {
  const watched = (key: string, registry: Registry) =>
    config.events.pushes ? new PushWatch(registry, (pushed) => onPush(key, pushed)) : registry;
  if (config.upstream !== undefined) {
    const { url, namespace } = config.upstream;
    const client = new UpstreamClient(config.upstream);
    const mirrors = await Mirrors.open(config.mirror, logger);
    const registry = await mirrors.before(
      url,
      completed(new UpstreamRegistry(config.upstream, client), config.limits.manifestBytes),
    );
    const reader = new UpstreamReader(url, client);
    const send = client.send.bind(client);
    const jobs = upstreamJobRegistry(url, config.events.credentialsFile, { registry, reader, send });
    const key = namespace ?? new URL(url).host;
    return {
      registry: watched(key, registry),
      reader,
      jobRegistries: new Map([[key, jobs]]),
      routes: [],
      // An upstream that is down must not take the proxy out of service: what is answered without it still is.
      checks: [],
      closing: [
        { name: 'upstream', close: () => client.close() },
        { name: 'mirror', close: () => mirrors.close() },
      ],
    };
  }
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
    routes: [],
    checks: [{ name: 'storage', check: () => registry.ready() }],
    jobRegistries: new Map([['', embeddedJobRegistry(config.storage.dir, registry, reader)]]),
  };
  if (access === undefined)
    return { ...common, registry: watched('', registry), reader, closing: [sweeping] };
  return {
    ...common,
    registry: watched('', access.registry(registry)),
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
