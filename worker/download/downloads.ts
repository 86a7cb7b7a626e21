import type { Logger } from 'pino';
import { KeyLock } from '../../schemas/concurrency/key-lock.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { formatPlatform, parsePlatform } from '../../schemas/oci/platform.ts';
import type { Platform } from '../../schemas/oci/types.ts';
import type { Catalogue } from '../images/catalogue.ts';
import type { Collector } from '../images/collector.ts';
import type { ContentDemand } from '../images/content-demand.ts';
import type { DocumentFiles } from '../images/document-files.ts';
import type { Image } from '../images/image.ts';
import type { Room } from '../images/room.ts';
import type { ImageTables, TableCache } from '../images/trees.ts';
import type { ContentStore, FsyncPolicy } from '../store/content-store.ts';
import { asStoreError, isStoreFault } from '../store/store-error.ts';
import type { BackoffOptions } from './backoff.ts';
import { BundleFeed } from './bundle-feed.ts';
import { type OpenedBundle, openBundle } from './bundle-opening.ts';
import type { Login } from '../../schemas/registry-auth/credentials.ts';
import { isTransient } from './download-error.ts';
import { type DownloadCounts, ImageDownload } from './image-download.ts';
import type { ProxyClient } from './proxy-client.ts';
import type { RangeFetch } from './range-fetch.ts';
import type { AuthScope } from './auth-scope.ts';
import { syncFileSystem, verifyPresent } from './durability.ts';
import type { TrustPolicy, VerifiedImage } from './verify-image.ts';

export type DownloadsDeps = {
  readonly root: string;
  readonly proxy: ProxyClient;
  readonly store: ContentStore;
  readonly fetch: RangeFetch;
  readonly documents: DocumentFiles;
  readonly tables: TableCache;
  readonly catalogue: Catalogue;
  readonly collector: Collector;
  readonly room: Room;
  /** The daemon's own credentials for a registry host. */
  readonly credentialsOf: (host: string) => Promise<Login | undefined>;
  readonly trust: TrustPolicy;
  readonly backoff: BackoffOptions;
  readonly demandDistanceBytes: number;
  readonly fromLimit: number;
  readonly fsync: FsyncPolicy;
  readonly bootId: string;
  readonly nowMs: () => number;
  readonly log: Logger;
};

/** What is asked for. */
export type DownloadOrder = {
  readonly host: string;
  readonly repository: string;
  /** `tag` or `@digest`, as it follows the repository. */
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
  readonly platform: Platform;
  /** `name@digest`s named by the user; those at hand are added. */
  readonly from: readonly string[];
  readonly credentials?: Login | undefined;
};

/** An image whose metadata is here and whose contents arrive. */
export type ActiveDownload = {
  readonly image: Image;
  readonly unknownFrom: readonly string[];
  readonly counts: () => DownloadCounts;
  /** Settles when all is here, or with what went wrong. */
  readonly done: Promise<void>;
};

/** A bundle of which the header is in, and what its download needs. */
type Beginning = {
  readonly opened: OpenedBundle;
  readonly order: DownloadOrder;
  readonly scope: AuthScope;
  readonly feed: BundleFeed;
  /** Aborted when nothing needs the image any more. */
  readonly cancelled: AbortController;
  /** That, and the end of the daemon. */
  readonly signal: AbortSignal;
};

type Active = ActiveDownload & { readonly download: ImageDownload };

/** A download that failed, but may succeed later, is taken up again by itself after this time. */
export const RETRY_LATER_MS = 60_000;

/** The downloads under way, one per image however many ask for it; and what brings contents on demand. */
export class Downloads implements ContentDemand {
  readonly #deps: DownloadsDeps;
  readonly #active = new Map<Digest, Active>();
  readonly #beginning = new KeyLock();
  readonly #opening = new Map<string, Promise<ActiveDownload>>();
  readonly #stop = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();
  /** Orders whose bundle changed: from then on they ask by digest. */
  readonly #pinned = new WeakMap<DownloadOrder, Digest>();

  constructor(deps: DownloadsDeps) {
    this.#deps = deps;
  }

  /**
   * Begins a download, or joins it. Fulfils as soon as the metadata is verified and kept.
   * @throws {DownloadError}, {@link StoreError} `no-space`, `quota-exceeded`: then nothing was begun.
   */
  start(order: DownloadOrder): Promise<ActiveDownload> {
    const reference = order.digest === undefined ? `:${order.tag}` : `@${order.digest}`;
    const key = `${order.host}/${order.repository}${reference} ${formatPlatform(order.platform)}`;
    const opening = this.#opening.get(key) ?? this.#open(order).finally(() => this.#opening.delete(key));
    this.#opening.set(key, opening);
    return opening;
  }

  /** Takes up an image again that is in the catalogue and not complete. */
  async resume(image: Image): Promise<ActiveDownload> {
    const active = this.#active.get(image.manifestDigest);
    if (active !== undefined) return active;
    return this.start({
      host: image.host,
      repository: image.repository,
      tag: undefined,
      digest: image.manifestDigest,
      platform: parsePlatform(image.platform),
      from: [],
    });
  }

  /** The download of an image, while it runs. */
  activeOf(manifestDigest: Digest): ActiveDownload | undefined {
    return this.#active.get(manifestDigest);
  }

  /** How far an image has arrived that nothing brings at present: looks for each of its contents in the store. */
  async look(image: Image, signal: AbortSignal): Promise<DownloadCounts> {
    const loaded = await this.#deps.tables.load(image.tocDigest);
    const download = this.#download(image, loaded, this.#scopeOf(image.host, image.repository));
    await download.missing(signal);
    return download.counts();
  }

  async want(image: Image, digest: Digest, signal: AbortSignal): Promise<void> {
    const { store, catalogue, tables, log } = this.#deps;
    if (store.has(digest)) return;
    const both = AbortSignal.any([signal, this.#stop.signal]);
    const active = this.#active.get(image.manifestDigest);
    if (active !== undefined) return active.download.want(digest, both);
    if (catalogue.find(image.manifestDigest)?.state === 'pulling') {
      this.resume(image).catch((error: unknown) => log.warn({ err: error }, 'a pull cannot be taken up yet'));
    }
    const loaded = await tables.load(image.tocDigest);
    return this.#download(image, loaded, this.#scopeOf(image.host, image.repository)).want(digest, both);
  }

  /** Takes up every image that is not complete. */
  resumeAll(): void {
    for (const image of this.#deps.catalogue.list())
      if (image.state === 'pulling') this.#resumeLater(image, 0);
  }

  /** Ends all downloads; what has arrived stays. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the daemon is stopping'));
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.allSettled([
      ...this.#opening.values(),
      ...[...this.#active.values()].map(({ done }) => done),
    ]);
  }

  async #open(order: DownloadOrder): Promise<ActiveDownload> {
    const scope = this.#scopeOf(order.host, order.repository, order.credentials);
    const cancelled = new AbortController();
    const signal = AbortSignal.any([cancelled.signal, this.#stop.signal]);
    const feed = this.#feed(order, scope, signal);
    try {
      const opened = await openBundle(feed, order, this.#deps.trust, (digest) => this.#dictionary(digest));
      return await this.#beginning.run([opened.verified.image.manifestDigest], () =>
        this.#begin({ opened, order, scope, feed, cancelled, signal }),
      );
    } catch (error) {
      feed.close();
      throw asStoreError(error, this.#deps.root);
    }
  }

  /** One after the other for each image. */
  async #begin({ opened, order, scope, feed, cancelled, signal }: Beginning): Promise<ActiveDownload> {
    const { collector, room, catalogue, nowMs, bootId } = this.#deps;
    const { image, tables } = opened.verified;
    const running = this.#active.get(image.manifestDigest);
    if (running !== undefined) {
      feed.close(); // another reference to the same image was quicker
      return running;
    }
    const documents = documentsOf(opened.verified);
    const unpin = collector.pin([image.manifestDigest, ...documents.map(({ digest }) => digest)]);
    const letGo = collector.hold(tables); // until the catalogue has it
    let giveBack: () => void = () => undefined;
    const download = this.#download(image, tables, scope, order);
    try {
      const isVerified = await this.#verifyPresent(image, tables);
      // The proxy was told of every image here; earlier versions of this one are what it takes from.
      const bases = opened.header.from.filter(({ name }) => name === image.repository);
      catalogue.setUsed(
        bases.map(({ manifestDigest }) => manifestDigest),
        nowMs(),
      );
      if (room.isLimited) {
        giveBack = await room.reserve(await download.missing(signal), signal);
      }
      for (const { digest, bytes } of documents) await this.#deps.documents.put(digest, bytes);
      const tree = tables.tree();
      const bytesTotal = tree.contentSize.reduce((sum, sizeBytes) => sum + sizeBytes, 0);
      catalogue.register(image, { contentsTotal: tree.contentCount, bytesTotal }, bootId, nowMs());
      if (isVerified) catalogue.setPulling(image.manifestDigest, bootId);
    } catch (error) {
      giveBack();
      throw error;
    } finally {
      letGo();
      unpin();
    }
    // Nothing was awaited since the catalogue has it.
    const unpinDownload = collector.pinDownload(image.manifestDigest, async () => {
      cancelled.abort(new Error('the image was removed while it was pulled'));
      await done.catch(() => undefined); // it is known why
    });
    const done = this.#run(download, feed, opened, signal).finally(() => {
      this.#active.delete(image.manifestDigest);
      giveBack();
      unpinDownload();
    });
    done.catch((error: unknown) => this.#failed(image, error, cancelled.signal));
    const counts = () => download.counts();
    const active = { image, unknownFrom: opened.header.unknownFrom, counts, done, download };
    this.#active.set(image.manifestDigest, active);
    return active;
  }

  /** After the machine went down in the middle of a pull: looks at what had come. @returns whether that was so. */
  async #verifyPresent(image: Image, tables: ImageTables): Promise<boolean> {
    const { catalogue, store, bootId, fsync, log } = this.#deps;
    const known = catalogue.find(image.manifestDigest);
    const writtenIn = catalogue.bootIdOf(image.manifestDigest);
    if (known === undefined || known.state === 'complete') return false;
    if (writtenIn === bootId || fsync === 'content') return false;
    await verifyPresent(store, tables.tree(), log, this.#stop.signal);
    return true;
  }

  async #run(
    download: ImageDownload,
    feed: BundleFeed,
    opened: OpenedBundle,
    signal: AbortSignal,
  ): Promise<void> {
    const { catalogue, root, fsync, log } = this.#deps;
    const { manifestDigest } = download.image;
    await download.run(feed, opened, signal);
    if (fsync === 'image') {
      await syncFileSystem(root, signal).catch((error: unknown) => {
        signal.throwIfAborted();
        log.warn({ err: error }, 'contents could not be forced to the disk');
      });
    }
    catalogue.setComplete(manifestDigest);
    log.info({ image: manifestDigest, ...download.counts() }, 'every content is here');
  }

  #failed(image: Image, error: unknown, cancelled: AbortSignal): void {
    if (this.#stop.signal.aborted) return;
    const { log } = this.#deps;
    if (cancelled.aborted) {
      log.info({ image: image.manifestDigest }, 'a download was ended: its image was removed');
      return;
    }
    this.#noteError(image, error);
    log.error({ err: error, image: image.manifestDigest }, 'a download failed');
    if (isWorthRetrying(error)) this.#resumeLater(image, RETRY_LATER_MS);
  }

  #noteError(image: Image, error: unknown): void {
    const { catalogue, log } = this.#deps;
    try {
      catalogue.setError(image.manifestDigest, error instanceof Error ? error.message : String(error));
    } catch (failure) {
      log.error({ err: failure }, 'a failure cannot be noted'); // on a full disk, the database may not grow either
    }
  }

  #resumeLater(image: Image, delayMs: number): void {
    const { catalogue, log } = this.#deps;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (catalogue.find(image.manifestDigest)?.state !== 'pulling') return;
      this.resume(image).catch((error: unknown) => {
        if (this.#stop.signal.aborted) return;
        log.warn({ err: error, image: image.manifestDigest }, 'a pull cannot be taken up yet');
        this.#noteError(image, error);
        if (isWorthRetrying(error)) this.#resumeLater(image, RETRY_LATER_MS);
      });
    }, delayMs).unref();
    this.#timers.add(timer);
  }

  #download(image: Image, tables: ImageTables, scope: AuthScope, order?: DownloadOrder): ImageDownload {
    const { store, fetch, room, demandDistanceBytes, trust, log } = this.#deps;
    return new ImageDownload({
      image,
      tables,
      scope,
      store,
      fetch,
      demandDistanceBytes,
      log,
      makeRoom: (bytes, signal) => room.makeRoom(bytes, signal),
      reopen: async (feed) => {
        // By digest now: the tag may have moved, and this download is of what it was.
        if (order !== undefined) this.#pinned.set(order, image.manifestDigest);
        feed.restart();
        const { host, repository } = image;
        const wish = {
          host,
          repository,
          digest: image.manifestDigest,
          platform: parsePlatform(image.platform),
        };
        return openBundle(feed, wish, trust, (digest) => this.#dictionary(digest));
      },
    });
  }

  #feed(order: DownloadOrder, scope: AuthScope, ending: AbortSignal): BundleFeed {
    const { proxy, backoff, log } = this.#deps;
    const from = this.#fromList(order);
    const platform = formatPlatform(order.platform);
    return new BundleFeed(
      (resume, signal) => {
        const digest = this.#pinned.get(order) ?? order.digest;
        const to = `${order.repository}${digest === undefined ? `:${order.tag ?? 'latest'}` : `@${digest}`}`;
        return proxy.delta({ to, from, platform }, scope, resume, signal);
      },
      backoff,
      ending,
      (error, position) => log.warn({ err: error, position }, 'the transfer of a bundle was cut, going on'),
    );
  }

  /** Images here of which everything has arrived, those of the same repository first. */
  #fromList(order: DownloadOrder): string[] {
    const complete = this.#deps.catalogue.list().filter(({ state }) => state === 'complete');
    const isSame = (image: Image): boolean =>
      image.host === order.host && image.repository === order.repository;
    const sorted = [...complete.filter(isSame), ...complete.filter((image) => !isSame(image))];
    const known = sorted.map((image) => `${image.repository}@${image.manifestDigest}`);
    return [...new Set([...order.from, ...known])].slice(0, this.#deps.fromLimit);
  }

  async #dictionary(tocDigest: Digest): Promise<Uint8Array | undefined> {
    const known = this.#deps.catalogue.list().some((image) => image.tocDigest === tocDigest);
    return known ? this.#deps.documents.get(tocDigest) : undefined;
  }

  #scopeOf(host: string, repository: string, credentials?: Login): AuthScope {
    const own = () => this.#deps.credentialsOf(host);
    return { host, repository, credentials: credentials === undefined ? own : async () => credentials };
  }
}

/** Time may heal it, or somebody who removes what is not needed. */
function isWorthRetrying(error: unknown): boolean {
  return isTransient(error) || isStoreFault(error, 'no-space') || isStoreFault(error, 'quota-exceeded');
}

function documentsOf(verified: VerifiedImage): { digest: Digest; bytes: Uint8Array }[] {
  const blobs = [
    verified.manifest,
    verified.config,
    ...(verified.index === undefined ? [] : [verified.index]),
  ];
  return [...blobs, { digest: digestOf(verified.tocBytes), bytes: verified.tocBytes }];
}
