import { join } from 'node:path';
import type { Logger } from 'pino';
import { makeDirectory } from '../schemas/disk/make-directory.ts';
import type { ChainId } from '../schemas/oci/chain-id.ts';
import { readClientTls } from '../schemas/tls/client-tls.ts';
import { hostPlatform } from '../schemas/oci/platform.ts';
import type { ShutdownStep } from '../schemas/process/shutdown.ts';
import type { WorkerConfig } from './config.ts';
import { ContainerdClient } from './containerd/client.ts';
import { SnapshotCollection } from './containerd/snapshot-collection.ts';
import { controlActions, OPTIMIZER_SETTING } from './control/actions.ts';
import { ControlServer } from './control/control-server.ts';
import { PullService } from './control/pull-service.ts';
import { fileCredentials } from '../schemas/registry-auth/docker-credentials.ts';
import { Downloads } from './download/downloads.ts';
import { readBootId } from './download/durability.ts';
import { ProxyClient } from './download/proxy-client.ts';
import { RangeFetch } from './download/range-fetch.ts';
import { chooseDriver } from './filesystem/choose-driver.ts';
import { HealthServer } from './health-server.ts';
import { CompleteForms } from './complete/complete-forms.ts';
import { Catalogue } from './images/catalogue.ts';
import { Collector } from './images/collector.ts';
import { DocumentFiles } from './images/document-files.ts';
import { LabelPulls } from './images/label-pulls.ts';
import { Registration } from './images/registration.ts';
import { Room } from './images/room.ts';
import { StarlightImages } from './images/starlight-images.ts';
import { TreeMounts } from './images/tree-mounts.ts';
import { TableCache } from './images/trees.ts';
import { createSnapshotter } from './snapshotter/create-snapshotter.ts';
import { serveSnapshotter } from './snapshotter/serve-snapshotter.ts';
import type { Snapshotter } from './snapshotter/snapshotter.ts';
import { ContentStore } from './store/content-store.ts';
import { Quota } from './store/quota.ts';
import { TraceRecorder } from './trace/trace-recorder.ts';

export type DaemonOptions = {
  readonly config: WorkerConfig;
  readonly version: string;
  readonly log: Logger;
  readonly nowMs: () => number;
};

const CONTAINERD_PAUSE_MS = 10_000;

/** A running daemon: what must be closed, in this order. */
export type RunningDaemon = { readonly steps: readonly ShutdownStep[] };

/**
 * Wires the worker's parts and starts them: state from the disk first, then mounts of what snapshots need, then
 * the sockets, then what an earlier daemon left unfinished.
 *
 * @throws {Error} when a part cannot start; what had started is closed again.
 */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const steps: ShutdownStep[] = [];
  try {
    await wire(options, steps);
    return { steps };
  } catch (error) {
    for (const step of steps) {
      await step.close(AbortSignal.abort()).catch((failure: unknown) => {
        options.log.warn({ err: failure, step: step.name }, 'closing after a failed start');
      });
    }
    throw error;
  }
}

/** @param steps gets what has started, the last started first. */
async function wire(options: DaemonOptions, steps: ShutdownStep[]): Promise<void> {
  const { config, version, log, nowMs } = options;
  const { root } = config;
  const stopping = new AbortController();
  const closing = (name: string, close: ShutdownStep['close']): void => void steps.unshift({ name, close });
  const url = config.proxy.url.replace(/\/$/, '');

  await makeDirectory(root, 0o700);
  const catalogue = new Catalogue(join(root, 'images.db')); // also the lock on the root: so it is first
  closing('catalogue', async () => catalogue.close());
  const health = new HealthServer(); // from here on it is alive, and ready once all the rest is
  if (config.health.port !== 0) {
    await health.listen(config.health.port);
    closing('health', () => health.close());
  }
  const documents = await DocumentFiles.open(root);
  const store = await ContentStore.open(root, { fsync: config.store.fsync });
  closing('store', async () => store.close());
  const descriptorDirectory = join(root, 'descriptors');
  const driver = await chooseDriver(config.filesystem.driver, log, { descriptorDirectory });
  const closeDriver = () => driver.close({ leaveMounted: !config.filesystem.unmountAtExit });
  closing('file system driver', closeDriver); // for a start that fails; else the mounts were left before

  const proxy = new ProxyClient({ ...config.proxy, url, nowMs, tls: readClientTls(config.proxy) });
  closing('proxy client', () => proxy.close());
  const containerd = new ContainerdClient(config.containerd);
  closing('containerd client', async () => containerd.close());
  const tables = new TableCache(documents);
  const recorder = new TraceRecorder({
    db: catalogue.db,
    on: catalogue.setting(OPTIMIZER_SETTING) === 'on',
    nowMs,
  });
  closing('traces', async () => recorder.flush());

  const slot: { snapshotter?: Snapshotter; mounts?: TreeMounts; forms?: CompleteForms } = {};
  const quota = new Quota(config.store.quotaBytes);
  const collector = new Collector({
    ...{ catalogue, documents, tables, store, quota, nowMs },
    liveChains: () => liveChains(slot.snapshotter, slot.mounts, slot.forms),
    log: log.child({ part: 'collector' }),
  });
  const collectSoon = () => collector.schedule(stopping.signal);
  const room = new Room({ store, quota, collector, log: log.child({ part: 'store' }) });
  const backoff = {
    retries: config.download.retries,
    firstMs: config.download.retryDelayMs,
    maxMs: config.download.retryDelayMaxMs,
  };
  const downloadLog = log.child({ part: 'download' });
  const concurrency = config.download.demandConcurrency;
  const fetch = new RangeFetch({ proxy, store, backoff, concurrency, log: downloadLog });
  const configured = fileCredentials(config.registry.dockerConfig);
  const credentialsOf = (host: string) => configured(host, stopping.signal);
  const downloads = new Downloads({
    ...{ root, proxy, store, fetch, documents, tables, catalogue, collector, room, credentialsOf },
    ...{ backoff, nowMs },
    trust: config.trust,
    demandDistanceBytes: config.download.demandDistanceBytes,
    fromLimit: config.download.fromLimit,
    fsync: config.store.fsync,
    bootId: await readBootId(),
    log: downloadLog,
  });
  const mounts = new TreeMounts({
    ...{ root, catalogue, tables, store, driver, demand: downloads, traces: recorder },
    waitLimitMs: config.filesystem.waitLimitMs,
    log: log.child({ part: 'mounts' }),
  });
  slot.mounts = mounts;
  const forms = await CompleteForms.open({
    ...{ root, catalogue, documents, storeDirectory: store.directory, nowMs },
    enabled: config.filesystem.completeForm === 'auto',
    log: log.child({ part: 'complete' }),
  });
  closing('complete forms', () => forms.close({ leaveMounted: !config.filesystem.unmountAtExit }));
  slot.forms = forms;
  const labelPulls = new LabelPulls({ downloads, platform: hostPlatform(), nowMs, log: downloadLog });
  const images = new StarlightImages({
    ...{ catalogue, mounts, forms, pulls: labelPulls },
    isTraced: () => recorder.on,
    onReleased: (chainId) => {
      catalogue.setUsedUntil(chainId, nowMs());
      collectSoon();
    },
    log: log.child({ part: 'mounts' }),
  });
  const snapshotterLog = log.child({ part: 'snapshotter' });
  const snapshotter = await createSnapshotter({ root, remoteImages: images, log: snapshotterLog });
  slot.snapshotter = snapshotter;
  closing('snapshotter', () => snapshotter.close());
  closing('collector', () => collector.close());
  closing('downloads', () => downloads.close());
  closing('background', async () => stopping.abort(new Error('the daemon is stopping')));
  // Before anything that brings contents: an open that waits is left to the next daemon, not ended with EIO.
  closing('mounts', closeDriver);

  const ensured = await snapshotter.ensureMounts(stopping.signal);
  await mounts.sweep(stopping.signal);
  await forms.sweep();
  log.info({ mounted: ensured.mounted, failed: ensured.failed.length }, 'mounted what snapshots need');
  const socketPath = config.snapshotter.socket;
  const server = await serveSnapshotter({ socketPath, snapshotter, log: snapshotterLog });
  closing('snapshotter socket', () => server.close());

  const registration = new Registration({
    ...{ client: containerd, snapshotter: config.containerd.snapshotter, catalogue, documents },
    log: log.child({ part: 'containerd' }),
  });
  const snapshotCollection = new SnapshotCollection({
    ...{ client: containerd, snapshotter: config.containerd.snapshotter },
    keys: () => Iterator.from(snapshotter.list([])).map(({ key }) => key),
    pauseMs: CONTAINERD_PAUSE_MS,
    log: log.child({ part: 'containerd' }),
  });
  const pulls = new PullService({
    ...{ downloads, catalogue, collector, collectSoon, registration, nowMs, log },
  });
  const controlLog = log.child({ part: 'control' });
  const actions = controlActions({
    log: controlLog,
    ...{ version, driver: driver.name, containerdAddress: config.containerd.address, pulls, downloads },
    ...{
      catalogue,
      collector,
      room,
      mounts,
      forms,
      store,
      proxy,
      containerd,
      snapshotCollection,
      recorder,
      nowMs,
    },
    scopeOf: (host, repository) => ({ host, repository, credentials: () => credentialsOf(host) }),
  });
  const control = new ControlServer(actions, controlLog);
  await control.listen(config.control.socket);
  closing('control socket', (signal) => control.close(signal));

  health.ready = true;
  closing('readiness', async () => {
    health.ready = false;
  });

  downloads.resumeAll();
  forms.requestAll();
  collectSoon(); // what was released while nobody was there to hear of it
  snapshotCollection.collectWhenReachable(stopping.signal).catch((error: unknown) => {
    if (!stopping.signal.aborted) log.warn({ err: error }, 'containerd has not collected its snapshots');
  });
  pulls.resumeRegistrations(stopping.signal).catch((error: unknown) => {
    log.error({ err: error }, 'taking up registrations failed');
  });
}

/** The chains of which containerd keeps a committed snapshot, and those that are mounted, whatever for. */
function liveChains(
  snapshotter?: Snapshotter,
  mounts?: TreeMounts,
  forms?: CompleteForms,
): ReadonlySet<ChainId> {
  const chains = new Set<ChainId>([...(mounts?.chains ?? []), ...(forms?.chains ?? [])]);
  for (const { kind, source } of snapshotter?.list([]) ?? []) {
    if (kind === 'committed' && source.kind === 'remote') chains.add(source.chainId);
  }
  return chains;
}
