import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { ContentLocator, ContentRow } from '../images/content-locator.ts';
import type { Image } from '../images/image.ts';
import type { ImageTables } from '../images/trees.ts';
import type { ContentStore } from '../store/content-store.ts';
import type { MissingContent } from '../store/quota.ts';
import { isStoreFault } from '../store/store-error.ts';
import { diskBytesOf } from '../store/usage-count.ts';
import { ArrivalBoard } from './arrival-board.ts';
import { BundleChangedError, type BundleFeed } from './bundle-feed.ts';
import type { OpenedBundle } from './bundle-opening.ts';
import { BundlePlan } from './bundle-plan.ts';
import { DownloadError, isTransient } from './download-error.ts';
import { IN_MEMORY_LIMIT_BYTES, payloadEnd, storePayload, storePayloadStream } from './payload.ts';
import type { RangeFetch } from './range-fetch.ts';
import type { AuthScope } from './auth-scope.ts';

export type ImageDownloadDeps = {
  readonly image: Image;
  readonly tables: ImageTables;
  readonly scope: AuthScope;
  readonly store: ContentStore;
  readonly fetch: RangeFetch;
  readonly demandDistanceBytes: number;
  /** Begins the bundle again by the image's digest, after it changed; gives the new header. */
  readonly reopen: (feed: BundleFeed) => Promise<OpenedBundle>;
  /** Removes what nothing needs until so many bytes are free on a disk that is full. False: nothing could go. */
  readonly makeRoom: (bytes: number, signal: AbortSignal) => Promise<boolean>;
  readonly log: Logger;
};

export type DownloadCounts = {
  /** Unique contents of the image: those at hand, and all. */
  readonly contentsArrived: number;
  readonly contentsTotal: number;
  /** Uncompressed bytes of them. */
  readonly bytesArrived: number;
  readonly bytesTotal: number;
  /** Bytes of bundle received so far, and the bundle's length; 0 when nothing had to be fetched. */
  readonly wireBytes: number;
  readonly wireBytesTotal: number;
};

/** Over a gap of unneeded payloads longer than this it is quicker to ask anew than to let them come. */
export const SEEK_GAP_BYTES = 256 * 1024;
/** How long a process waits for the stream before its content is fetched out of turn after all. */
const NEAR_WAIT_MS = 1500;
/** The pause before a content is asked for again where only time can help. */
const WANT_RETRY_MS = 1000;

/**
 * Brings the contents of one image into the store: those of the bundle in its order, those that somebody waits
 * for out of turn, and at the end one by one what the bundle did not bring.
 */
export class ImageDownload {
  readonly image: Image;
  readonly #deps: ImageDownloadDeps;
  readonly #locator: ContentLocator;
  #lazyBoard: ArrivalBoard | undefined;
  #feed: BundleFeed | undefined;
  #plan: BundlePlan | undefined;
  /** The payload that the stream brings now; past the end when it brings none. */
  #current = Number.POSITIVE_INFINITY;

  constructor(deps: ImageDownloadDeps) {
    this.#deps = deps;
    this.image = deps.image;
    this.#locator = deps.tables.locator();
  }

  /** Made when first needed; what is here counts from the beginning of {@link run} on. */
  get #board(): ArrivalBoard {
    this.#lazyBoard ??= new ArrivalBoard(this.#deps.tables.tree(), this.#locator);
    return this.#lazyBoard;
  }

  counts(): DownloadCounts {
    const { contentsArrived, contentsTotal, bytesArrived, bytesTotal } = this.#board;
    const wireBytes = this.#feed?.receivedBytes ?? 0;
    const wireBytesTotal = this.#feed?.lengthBytes ?? this.#plan?.endPosition ?? 0;
    return { contentsArrived, contentsTotal, bytesArrived, bytesTotal, wireBytes, wireBytesTotal };
  }

  /** Looks what is here, and tells what is not. */
  async missing(signal: AbortSignal): Promise<Iterable<MissingContent>> {
    await this.#board.look(this.#deps.store, signal);
    return this.#missing();
  }

  /**
   * Runs until everything is here. The feed stands behind the header of `opened`.
   * @throws {DownloadError}, {@link StoreError} `no-space`, the signal's reason; running a new one goes on.
   */
  async run(feed: BundleFeed, opened: OpenedBundle, signal: AbortSignal): Promise<void> {
    const board = this.#board;
    const stop = this.#deps.store.onArrival((digest) => board.arrived(digest));
    this.#feed = feed;
    try {
      await board.look(this.#deps.store, signal);
      let bundle = opened;
      for (;;) {
        try {
          await this.#consume(feed, bundle, signal);
          await this.#fetchRest(signal);
          break;
        } catch (error) {
          if (!(error instanceof BundleChangedError) && !(await this.#madeRoom(error, signal))) throw error;
          this.#deps.log.warn({ image: this.image.manifestDigest, err: error }, 'asking for the bundle anew');
          bundle = await this.#deps.reopen(feed);
        }
      }
    } finally {
      this.#current = Number.POSITIVE_INFINITY;
      feed.close();
      stop();
    }
  }

  /**
   * A process waits for a content: brings it, by the stream if it comes soon, else out of turn.
   * @throws {DownloadError} when waiting is useless; the signal's reason when it aborts.
   */
  async want(digest: Digest, signal: AbortSignal): Promise<void> {
    const row = this.#locator.find(digest);
    if (row === undefined) throw new DownloadError('not-found', `the image has no content ${digest}`);
    const ended = new AbortController();
    const both = AbortSignal.any([signal, ended.signal]);
    const here = this.#deps.store.wait(digest, both);
    const brought = this.#bring(row, both);
    try {
      await Promise.race([here, brought]);
    } finally {
      ended.abort();
      await Promise.allSettled([here, brought]);
    }
  }

  async #bring(row: ContentRow, signal: AbortSignal): Promise<void> {
    const { store, fetch, scope } = this.#deps;
    for (let tries = 0; !store.has(this.#locator.digestOf(row)); tries += 1) {
      signal.throwIfAborted();
      if (tries === 0 ? this.#comesSoon(row) : this.#comesNow(row)) {
        await delay(NEAR_WAIT_MS, undefined, { signal });
        continue;
      }
      try {
        await fetch.fetch(this.image, this.#locator, row, scope, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!isTransient(error) && !isStoreFault(error, 'no-space')) throw error;
        await delay(WANT_RETRY_MS, undefined, { signal });
      }
    }
  }

  #comesNow(row: ContentRow): boolean {
    return this.#plan?.payloadOf(row) === this.#current;
  }

  #comesSoon(row: ContentRow): boolean {
    const payload = this.#plan?.payloadOf(row);
    if (payload === undefined || this.#plan === undefined || payload < this.#current) return false;
    const distanceBytes = this.#plan.positionOf(payload) - (this.#feed?.position ?? 0);
    return distanceBytes <= this.#deps.demandDistanceBytes;
  }

  async #consume(feed: BundleFeed, bundle: OpenedBundle, signal: AbortSignal): Promise<void> {
    const plan = new BundlePlan(bundle.header, bundle.start, this.#locator);
    this.#plan = plan;
    for (let payload = 0; payload < plan.payloadCount; payload += 1) {
      signal.throwIfAborted();
      if (!this.#isNeeded(plan, payload)) continue;
      const position = plan.positionOf(payload);
      if (position - feed.position > SEEK_GAP_BYTES && feed.canSeek) feed.seek(position);
      this.#current = payload;
      await feed.source.skip(position - feed.position);
      await this.#take(feed, plan, payload, signal);
    }
  }

  *#missing(): Generator<MissingContent> {
    for (const row of this.#board.missing()) {
      yield { digest: this.#locator.digestOf(row), sizeBytes: this.#locator.sizeBytesOf(row) };
    }
  }

  /** True when the disk was full and something could go; it ends, since there is less to go each time. */
  async #madeRoom(error: unknown, signal: AbortSignal): Promise<boolean> {
    if (!isStoreFault(error, 'no-space')) return false;
    let bytes = 0;
    for (const { sizeBytes } of this.#missing()) bytes += diskBytesOf(sizeBytes);
    return this.#deps.makeRoom(bytes, signal);
  }

  #isNeeded(plan: BundlePlan, payload: number): boolean {
    for (const row of plan.rowsOf(payload)) if (this.#board.isMissing(row)) return true;
    return false;
  }

  async #take(feed: BundleFeed, plan: BundlePlan, payload: number, signal: AbortSignal): Promise<void> {
    const { store, log } = this.#deps;
    const encoding = plan.encodingOf(payload);
    const items = plan.itemsOf(payload);
    const length = plan.lengthOf(payload);
    if (encoding === undefined) return; // fetched by range at the end
    let refused: readonly Digest[];
    if (length <= IN_MEMORY_LIMIT_BYTES && payloadEnd(items) <= IN_MEMORY_LIMIT_BYTES) {
      refused = await storePayload(encoding, await feed.source.read(length), items, store, signal);
    } else {
      refused = await storePayloadStream(encoding, feed.source.take(length), items, store, signal);
      // Where it stopped reading is unknown; the next payload is asked for by its place.
      if (refused.length > 0) feed.seek(plan.positionOf(payload + 1));
    }
    if (refused.length > 0) {
      log.error(
        { image: this.image.manifestDigest, payload, refused },
        'the bundle brought contents that are not what their digests say: refused, fetched anew one by one',
      );
      for (const digest of refused) await this.#refetch(digest, signal);
    }
  }

  /** A refused content is fetched at once: it stood here because it is needed early. */
  async #refetch(digest: Digest, signal: AbortSignal): Promise<void> {
    const row = this.#locator.find(digest);
    if (row === undefined || !this.#board.isMissing(row)) return;
    try {
      await this.#deps.fetch.fetch(this.image, this.#locator, row, this.#deps.scope, signal);
    } catch (error) {
      if (!isHopeless(error)) throw error;
      this.#deps.log.error(
        { err: error, digest },
        'a refused content cannot be had from the registry either',
      );
    }
  }

  /** What the bundle did not bring: all that can be done about it is done side by side. */
  async #fetchRest(signal: AbortSignal): Promise<void> {
    const { fetch, scope, log, image } = this.#deps;
    if (this.#board.isComplete) return;
    const rows = this.#board.missing();
    log.info({ image: image.manifestDigest, arrived: this.#board.contentsArrived }, 'fetching what is left');
    let failure: unknown;
    const worker = async (): Promise<void> => {
      // The generator is shared: each row goes to one of the workers.
      for (const row of rows) {
        try {
          await fetch.fetch(image, this.#locator, row, scope, signal);
        } catch (error) {
          if (!isHopeless(error)) throw error;
          failure ??= error; // the others may well come
        }
      }
    };
    await Promise.all(Array.from({ length: fetch.concurrency }, worker));
    if (failure !== undefined) throw failure;
  }
}

/** The content itself is wrong or gone; asking for others still makes sense. */
function isHopeless(error: unknown): boolean {
  if (!(error instanceof DownloadError)) return false;
  return error.kind === 'untrusted' || error.kind === 'not-found' || error.kind === 'malformed';
}
