import type { Logger } from 'pino';
import type { ContainerdClient } from '../containerd/client.ts';
import type { SnapshotCollection } from '../containerd/snapshot-collection.ts';
import type { Downloads } from '../download/downloads.ts';
import type { CompleteForms } from '../complete/complete-forms.ts';
import type { ProxyClient } from '../download/proxy-client.ts';
import type { AuthScope } from '../download/auth-scope.ts';
import type { Catalogue } from '../images/catalogue.ts';
import type { ImageRecord } from '../images/image.ts';
import type { Collector } from '../images/collector.ts';
import type { Room } from '../images/room.ts';
import type { TreeMounts } from '../images/tree-mounts.ts';
import type { ContentStore } from '../store/content-store.ts';
import { reportTraces } from '../trace/report.ts';
import type { TraceRecorder } from '../trace/trace-recorder.ts';
import type { ControlActions } from './control-server.ts';
import type {
  GcBody,
  OptimizerBody,
  PingBody,
  PullCounts,
  ReportBody,
  StatusBody,
  VersionBody,
} from './protocol.ts';
import { countsAtRest, type PullService } from './pull-service.ts';

export type ActionsDeps = {
  readonly version: string;
  readonly driver: string;
  readonly containerdAddress: string;
  readonly pulls: PullService;
  readonly downloads: Downloads;
  readonly catalogue: Catalogue;
  readonly collector: Collector;
  readonly room: Room;
  readonly mounts: TreeMounts;
  readonly forms: CompleteForms;
  readonly store: ContentStore;
  readonly proxy: ProxyClient;
  readonly containerd: ContainerdClient;
  readonly snapshotCollection: SnapshotCollection;
  readonly recorder: TraceRecorder;
  readonly scopeOf: (host: string, repository: string) => AuthScope;
  readonly nowMs: () => number;
  readonly log: Logger;
};

/** The setting in the catalogue that outlives the daemon. */
export const OPTIMIZER_SETTING = 'optimizer';

/** What the control API does, out of the daemon's parts. */
export function controlActions(deps: ActionsDeps): ControlActions {
  return {
    pull: (request, tell, signal) => deps.pulls.pull(request, tell, signal),
    status: (signal) => status(deps, signal),
    version: (): VersionBody => ({ version: deps.version, node: process.version }),
    optimizer: (on): OptimizerBody => {
      deps.catalogue.setSetting(OPTIMIZER_SETTING, on ? 'on' : 'off');
      deps.recorder.on = on;
      if (on) deps.mounts.restartTraces();
      return { on };
    },
    report: (signal) => report(deps, signal),
    gc: (signal) => gc(deps, signal),
    ping: (signal) => ping(deps, signal),
  };
}

async function status(deps: ActionsDeps, signal: AbortSignal): Promise<StatusBody> {
  const { catalogue, downloads, mounts, forms } = deps;
  const evictable = await deps.collector.evictable(signal);
  const { contents, bytes } = await deps.store.usage(signal);
  const images: StatusBody['images'][number][] = [];
  for (const image of catalogue.list()) {
    const active = downloads.activeOf(image.manifestDigest);
    const counts = active?.counts() ?? (await countsOf(deps, image, signal));
    const failed = active === undefined && image.state === 'pulling' && image.error !== undefined;
    const names = catalogue.namesOf(image.manifestDigest);
    const references = new Set(names.map(({ reference }) => reference));
    const common = {
      manifestDigest: image.manifestDigest,
      platform: image.platform,
      state: failed ? ('failed' as const) : image.state,
      ...(failed && image.error !== undefined ? { error: image.error } : {}),
      form: forms.stateOf(image),
      mounted: mounts.isMounted(image) || forms.isMounted(image),
      evictable: evictable.images.has(image.manifestDigest),
      ...counts,
    };
    if (references.size === 0) references.add(`${image.host}/${image.repository}@${image.manifestDigest}`);
    for (const reference of references) {
      const named = names.filter((name) => name.reference === reference);
      images.push({ reference, ...common, namespaces: named.map(({ namespace }) => namespace) });
    }
  }
  return {
    version: deps.version,
    driver: deps.driver,
    proxy: deps.proxy.url,
    optimizer: deps.recorder.on,
    completeForm: forms.obstacle === undefined ? { usable: true } : { usable: false, reason: forms.obstacle },
    store: { contents, bytes, ...deps.room.status(), evictableBytes: evictable.bytes },
    images,
  };
}

/** Of an image that is not being brought at present. */
async function countsOf(
  { downloads, log }: ActionsDeps,
  image: ImageRecord,
  signal: AbortSignal,
): Promise<PullCounts> {
  if (image.state === 'complete') return countsAtRest(image);
  try {
    return await downloads.look(image, signal);
  } catch (error) {
    signal.throwIfAborted();
    log.warn({ err: error, image: image.manifestDigest }, 'what has arrived of an image cannot be told');
    return countsAtRest(image);
  }
}

async function gc(deps: ActionsDeps, signal: AbortSignal): Promise<GcBody> {
  const containerdError = await failureOf(deps.snapshotCollection.collect(signal));
  signal.throwIfAborted();
  const result = await deps.collector.collectAll(signal);
  return { ...result, ...(containerdError === undefined ? {} : { containerdError }) };
}

async function report(deps: ActionsDeps, signal: AbortSignal): Promise<ReportBody> {
  const scopeOf = ({ host, repository }: { host: string; repository: string }) =>
    deps.scopeOf(host, repository);
  const images = await reportTraces(deps.recorder, deps.proxy, scopeOf, signal);
  deps.mounts.restartTraces();
  return { images };
}

async function ping(deps: ActionsDeps, signal: AbortSignal): Promise<PingBody> {
  const startedMs = deps.nowMs();
  const proxyError = await failureOf(deps.proxy.ping(signal));
  const elapsedMs = deps.nowMs() - startedMs;
  const containerdError = await failureOf(deps.containerd.ping(signal));
  return {
    daemon: 'ok',
    proxy: {
      url: deps.proxy.url,
      ok: proxyError === undefined,
      elapsedMs,
      ...(proxyError === undefined ? {} : { error: proxyError }),
    },
    containerd: {
      address: deps.containerdAddress,
      ok: containerdError === undefined,
      ...(containerdError === undefined ? {} : { error: containerdError }),
    },
  };
}

async function failureOf(attempt: Promise<void>): Promise<string | undefined> {
  try {
    await attempt;
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
