import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import type { ChainId } from '../../../schemas/oci/chain-id.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import type { Credentials } from '../../../schemas/registry-auth/credentials.ts';
import { type ActiveDownload, type DownloadOrder, Downloads } from '../../../worker/download/downloads.ts';
import { ProxyClient } from '../../../worker/download/proxy-client.ts';
import { RangeFetch } from '../../../worker/download/range-fetch.ts';
import { Catalogue } from '../../../worker/images/catalogue.ts';
import { Collector } from '../../../worker/images/collector.ts';
import { DocumentFiles } from '../../../worker/images/document-files.ts';
import { Room } from '../../../worker/images/room.ts';
import { TableCache } from '../../../worker/images/trees.ts';
import { ContentStore } from '../../../worker/store/content-store.ts';
import { Quota } from '../../../worker/store/quota.ts';

export interface HomeOptions {
  readonly root?: string;
  readonly unboundToc?: 'refuse' | 'accept';
  readonly credentials?: Credentials;
  readonly retries?: number;
  readonly bootId?: string;
  readonly quotaBytes?: number;
  /** Hears of each question for the live chains. */
  readonly onDivide?: () => void;
}

/** The worker's download side on a directory of its own, without mounts and containerd. */
export class DownloadHome implements AsyncDisposable {
  readonly root: string;
  readonly store: ContentStore;
  readonly documents: DocumentFiles;
  readonly catalogue: Catalogue;
  readonly collector: Collector;
  readonly quota: Quota;
  readonly room: Room;
  readonly tables: TableCache;
  readonly downloads: Downloads;
  readonly proxy: ProxyClient;
  /** What collections take for live. */
  readonly liveChains = new Set<ChainId>();
  readonly #isOwner: boolean;
  #stopped = false;

  private constructor(
    url: string,
    options: HomeOptions,
    parts: { root: string; store: ContentStore; documents: DocumentFiles },
  ) {
    const log = pino({ level: 'silent' });
    const nowMs = Date.now;
    this.#isOwner = options.root === undefined;
    this.root = parts.root;
    this.store = parts.store;
    this.documents = parts.documents;
    this.catalogue = new Catalogue(join(parts.root, 'images.db'));
    this.tables = new TableCache(parts.documents);
    this.proxy = new ProxyClient({
      url,
      connectTimeoutMs: 2000,
      headerTimeoutMs: 2000,
      idleTimeoutMs: 2000,
      nowMs,
    });
    const { catalogue, documents, tables, store, proxy } = this;
    const liveChains = () => {
      options.onDivide?.();
      return this.liveChains;
    };
    const quota = new Quota(options.quotaBytes ?? 0);
    this.quota = quota;
    this.collector = new Collector({ catalogue, documents, tables, store, quota, liveChains, nowMs, log });
    const room = new Room({ store, quota, collector: this.collector, log });
    this.room = room;
    const backoff = { retries: options.retries ?? 3, firstMs: 1, maxMs: 2 };
    this.downloads = new Downloads({
      ...{
        root: parts.root,
        proxy,
        store,
        documents,
        tables,
        catalogue,
        collector: this.collector,
        room,
        backoff,
        log,
      },
      fetch: new RangeFetch({ proxy, store, backoff, concurrency: 2, log }),
      credentialsOf: async () => options.credentials,
      trust: { unboundToc: options.unboundToc ?? 'refuse' },
      demandDistanceBytes: 0,
      fromLimit: 4,
      fsync: 'none',
      bootId: options.bootId ?? 'this boot',
      nowMs,
    });
  }

  static async open(url: string, options: HomeOptions = {}): Promise<DownloadHome> {
    const root = options.root ?? mkdtempSync('/tmp/sl-download-');
    const store = await ContentStore.open(root, { fsync: 'none' });
    const documents = await DocumentFiles.open(root);
    return new DownloadHome(url, options, { root, store, documents });
  }

  /** Asks for test/app:v1 of no host. */
  start(order: Partial<DownloadOrder> = {}): Promise<ActiveDownload> {
    return this.downloads.start({
      host: '',
      repository: 'test/app',
      tag: 'v1',
      digest: undefined,
      platform: { os: 'linux', architecture: 'amd64' },
      from: [],
      ...order,
    });
  }

  /** The same, until everything is here. */
  async complete(order: Partial<DownloadOrder> = {}): Promise<ActiveDownload> {
    const active = await this.start(order);
    await active.done;
    return active;
  }

  /** As containerd has it: images known by name, and those in `live` with snapshots. */
  register(...live: readonly Digest[]): void {
    this.liveChains.clear();
    for (const { manifestDigest, platform, layers } of this.catalogue.list()) {
      const name = { namespace: 'test', reference: manifestDigest, manifestDigest, registered: true };
      this.catalogue.putName(name, platform);
      const top = layers.at(-1);
      if (top !== undefined && live.includes(manifestDigest)) this.liveChains.add(top.chainId);
    }
  }

  /** Which of these contents are in the store. */
  present(digests: readonly Digest[]): Digest[] {
    return digests.filter((digest) => this.store.has(digest));
  }

  /** Ends the process, as it were; the directory stays. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.downloads.close();
    await this.collector.close();
    this.store.close();
    await this.proxy.close();
    this.catalogue.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    if (this.#isOwner) rmSync(this.root, { recursive: true, force: true });
  }
}
