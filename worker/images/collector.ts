import type { Logger } from 'pino';
import { KeyLock } from '../../schemas/concurrency/key-lock.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { ContentStore } from '../store/content-store.ts';
import type { Quota } from '../store/quota.ts';
import { sweep } from '../store/sweep.ts';
import type { Catalogue } from './catalogue.ts';
import { ContentOwners } from './content-owners.ts';
import type { DocumentFiles } from './document-files.ts';
import { Eviction } from './eviction.ts';
import type { ImageRecord } from './image.ts';
import { type DividedImages, divideImages } from './needed-images.ts';
import type { ImageTables, TableCache } from './trees.ts';

export type CollectResult = {
  readonly removedImages: number;
  readonly removedContents: number;
  /** On the disk. */
  readonly removedBytes: number;
};

/** What could be removed to make room: images that nothing needs, and what they alone take up on the disk. */
export type Evictable = { readonly images: ReadonlySet<Digest>; readonly bytes: number };

export type CollectorDeps = {
  readonly catalogue: Catalogue;
  readonly documents: DocumentFiles;
  readonly tables: TableCache;
  readonly store: ContentStore;
  readonly quota: Quota;
  /** The chains of which a committed snapshot exists, or a mount. */
  readonly liveChains: () => ReadonlySet<ChainId>;
  readonly nowMs: () => number;
  readonly log: Logger;
};

/** How much room is wanted, asked again in the course of a run. */
export type RoomWish = {
  /** How much is still too much when the store takes up `usedBytes`. */
  readonly excessBytes: (usedBytes: number) => number;
  /** Whether less room than wanted is worth having; otherwise no image is evicted when all do not suffice. */
  readonly isPartly: boolean;
};

/** An image that containerd never came to know is kept this long, so that its pull can be taken up again. */
export const UNREGISTERED_GRACE_MS = 10 * 60_000;
/** Removals come in bursts, a layer each. */
const SETTLE_MS = 250;
/** An image that comes into use in the middle of an eviction makes it begin again; so often at most. */
const MAX_BEGINNINGS = 5;
const RUN = 'run';
const NOTHING = { images: 0, contents: 0, bytes: 0 };

/**
 * Removes images that no snapshot stands on any more, and every content and document that no image refers to.
 * With a quota, images that are complete stay as long as there is room: they are what later pulls take from.
 * What a pull pins or holds is kept, whenever it does so. One run at a time.
 */
export class Collector {
  readonly #deps: CollectorDeps;
  /** Documents and manifest digests of pulls under way, with how many hold each. */
  readonly #pins = new Map<Digest, number>();
  /** Downloads under way by manifest digest, each with what ends it. */
  readonly #downloads = new Map<Digest, () => Promise<void>>();
  readonly #held = new Set<ImageTables>();
  readonly #lock = new KeyLock();
  #owners: ContentOwners | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(deps: CollectorDeps) {
    this.#deps = deps;
  }

  /** Keeps documents, or an image by its manifest digest, until the returned function is called. */
  pin(digests: readonly Digest[]): () => void {
    for (const digest of digests) this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      for (const digest of digests) {
        const count = (this.#pins.get(digest) ?? 1) - 1;
        if (count === 0) this.#pins.delete(digest);
        else this.#pins.set(digest, count);
      }
    };
  }

  /**
   * Keeps an image while its download runs, until the returned function is called: unless containerd has removed it
   * meanwhile and nothing else needs it. Then `cancel` is called, which fulfils once the download has ended.
   */
  pinDownload(manifestDigest: Digest, cancel: () => Promise<void>): () => void {
    this.#downloads.set(manifestDigest, cancel);
    return () => void this.#downloads.delete(manifestDigest);
  }

  /**
   * Keeps the contents of an image that is not in the catalogue yet, until the returned function is called. Call
   * it before looking into the store for them: a run under way then spares them.
   */
  hold(tables: ImageTables): () => void {
    this.#held.add(tables);
    this.#owners?.need(tables);
    return () => void this.#held.delete(tables);
  }

  /** Collects soon; calls in between are one. */
  schedule(signal: AbortSignal): void {
    if (this.#timer !== undefined || signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (signal.aborted) return;
      this.collect(signal).catch((error: unknown) => {
        if (!signal.aborted) this.#deps.log.error({ err: error }, 'collecting failed');
      });
    }, SETTLE_MS);
    this.#timer.unref();
  }

  /** Removes what must go: without a quota all that nothing needs, with one what is too much. */
  collect(signal: AbortSignal): Promise<CollectResult> {
    const { quota } = this.#deps;
    if (!quota.isLimited) return this.#run('all', signal);
    return this.#run({ excessBytes: (usedBytes) => quota.excessBytes(usedBytes), isPartly: true }, signal);
  }

  /** Removes all that nothing needs. */
  collectAll(signal: AbortSignal): Promise<CollectResult> {
    return this.#run('all', signal);
  }

  /** Removes what nothing needs until there is room, the images used longest ago first. */
  makeRoom(wish: RoomWish, signal: AbortSignal): Promise<CollectResult> {
    return this.#run(wish, signal);
  }

  /** What {@link makeRoom} could remove. */
  evictable(signal: AbortSignal): Promise<Evictable> {
    return this.#alone(async () => {
      const { unneeded } = this.#divide();
      if (unneeded.length === 0) return { images: new Set(), bytes: 0 };
      const eviction = await this.#plan(signal);
      return {
        images: new Set(eviction.images.map(({ manifestDigest }) => manifestDigest)),
        bytes: await eviction.totalBytes(signal),
      };
    });
  }

  /** Whether nothing needs an image that is here. */
  isUnneeded(manifestDigest: Digest): boolean {
    return this.#divide().unneeded.some((image) => image.manifestDigest === manifestDigest);
  }

  /** Stops what is scheduled and waits for what runs. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#lock.settled();
  }

  #alone<T>(task: () => Promise<T>): Promise<T> {
    return this.#lock.run([RUN], () =>
      task().finally(() => {
        this.#owners = undefined;
      }),
    );
  }

  #run(goal: 'all' | RoomWish, signal: AbortSignal): Promise<CollectResult> {
    return this.#alone(async () => {
      const { catalogue, documents, store, log } = this.#deps;
      await this.#cancelAbandoned();
      const { unneeded } = this.#divide();
      const isDue = (image: ImageRecord): boolean => goal === 'all' || image.state !== 'complete';
      const dropped = unneeded.filter(isDue).map(({ manifestDigest }) => manifestDigest);
      catalogue.remove(dropped);
      const eviction = await this.#plan(signal);
      const swept = await sweep(store, (digest) => eviction.owners.has(digest), signal);
      const evicted = goal === 'all' ? NOTHING : await this.#evict(eviction, goal, signal);
      await documents.sweep((digest) => this.#pins.has(digest) || this.#isDocument(digest));
      const result = {
        removedImages: dropped.length + evicted.images,
        removedContents: swept.removed + evicted.contents,
        removedBytes: swept.freedBytes + evicted.bytes,
      };
      log.info({ ...result, keptImages: catalogue.list().length }, 'collected');
      return result;
    });
  }

  async #evict(first: Eviction, wish: RoomWish, signal: AbortSignal): Promise<typeof NOTHING> {
    const { catalogue, store } = this.#deps;
    let eviction = first;
    for (let beginnings = 0; beginnings < MAX_BEGINNINGS; beginnings += 1) {
      const { bytes: usedBytes } = await store.usage(signal);
      const excessBytes = wish.excessBytes(usedBytes);
      if (excessBytes === 0) return NOTHING;
      const victims = await eviction.victims(excessBytes, wish.isPartly, signal);
      // Nothing is awaited between this question and the removal from the catalogue.
      const unneeded = new Set(this.#divide().unneeded.map(({ manifestDigest }) => manifestDigest));
      if (victims.every(({ manifestDigest }) => unneeded.has(manifestDigest))) {
        catalogue.remove(victims.map(({ manifestDigest }) => manifestDigest));
        return { images: victims.length, ...(await eviction.remove(victims.length, signal)) };
      }
      eviction = await this.#plan(signal);
    }
    return NOTHING;
  }

  /** What goes with which image as things stand, those used longest ago first. */
  async #plan(signal: AbortSignal): Promise<Eviction> {
    const { tables, store } = this.#deps;
    const owners = new ContentOwners();
    this.#owners = owners; // whatever is held from now on is marked in it as well
    const { needed, unneeded } = this.#divide();
    for (const held of this.#held) owners.need(held);
    for (const image of needed) {
      owners.need(await tables.load(image.tocDigest));
      signal.throwIfAborted();
    }
    const images = unneeded.toReversed().toSorted((a, b) => a.usedMs - b.usedMs); // the last touched last
    for (const [rank, image] of images.entries()) {
      owners.allow(await tables.load(image.tocDigest), rank);
      signal.throwIfAborted();
    }
    return new Eviction({ images, owners, tables, store });
  }

  #divide(): DividedImages<ImageRecord> {
    const { catalogue, liveChains } = this.#deps;
    const isHeld = (image: ImageRecord): boolean =>
      this.#downloads.has(image.manifestDigest) || this.#isHeld(image);
    return divideImages(catalogue.list(), liveChains(), isHeld);
  }

  /** Ends the downloads of images that nothing but their download needs any more. */
  async #cancelAbandoned(): Promise<void> {
    if (this.#downloads.size === 0) return;
    const { catalogue, liveChains } = this.#deps;
    const { unneeded } = divideImages(catalogue.list(), liveChains(), (image) => this.#isHeld(image));
    await Promise.all(unneeded.map(({ manifestDigest }) => this.#downloads.get(manifestDigest)?.()));
  }

  #isDocument(digest: Digest): boolean {
    return this.#deps.catalogue.isDocument(digest);
  }

  #isHeld(image: ImageRecord): boolean {
    if (this.#pins.has(image.manifestDigest)) return true;
    const { catalogue, nowMs } = this.#deps;
    const names = catalogue.namesOf(image.manifestDigest);
    if (names.length > 0 && names.every((name) => name.registered)) return false;
    return nowMs() - catalogue.touchedMsOf(image.manifestDigest) < UNREGISTERED_GRACE_MS;
  }
}
