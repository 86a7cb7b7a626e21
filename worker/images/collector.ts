import type { Logger } from 'pino';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { type Digest, digestHex } from '../../schemas/oci/digest.ts';
import type { ContentStore } from '../store/content-store.ts';
import { sweep } from '../store/sweep.ts';
import type { Catalogue } from './catalogue.ts';
import type { DocumentFiles } from './document-files.ts';
import type { ImageRecord } from './image.ts';
import type { ImageTables, TableCache } from './trees.ts';

export type CollectResult = {
  readonly removedImages: number;
  readonly removedContents: number;
  readonly removedBytes: number;
};

export type CollectorDeps = {
  readonly catalogue: Catalogue;
  readonly documents: DocumentFiles;
  readonly tables: TableCache;
  readonly store: ContentStore;
  /** The chains of which a committed snapshot exists. */
  readonly liveChains: () => ReadonlySet<ChainId>;
  readonly nowMs: () => number;
  readonly log: Logger;
};

/** An image that containerd never came to know is kept this long, so that its pull can be taken up again. */
export const UNREGISTERED_GRACE_MS = 10 * 60_000;
/** Removals come in bursts, a layer each. */
const SETTLE_MS = 250;

/**
 * Removes images that no snapshot stands on any more, then every content and document that no image refers to.
 * What a pull pins is kept, whenever it pins it.
 */
export class Collector {
  readonly #deps: CollectorDeps;
  /** Documents and manifest digests of pulls under way, with how many hold each. */
  readonly #pins = new Map<Digest, number>();
  #marks: Set<string> | undefined;
  #running: Promise<CollectResult> | undefined;
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

  /** Call before looking into the store for the contents of an image: a sweep under way then spares them. */
  protect(tables: ImageTables): void {
    if (this.#marks !== undefined) markContents(tables, this.#marks);
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

  /** Collects now; joins a run that is under way. */
  collect(signal: AbortSignal): Promise<CollectResult> {
    this.#running ??= this.#collect(signal).finally(() => {
      this.#running = undefined;
      this.#marks = undefined;
    });
    return this.#running;
  }

  /** Stops what is scheduled and waits for what runs. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#running?.catch(() => undefined); // it was logged, or told to whoever asked for it
  }

  async #collect(signal: AbortSignal): Promise<CollectResult> {
    const { catalogue, documents, tables, store, log } = this.#deps;
    const { kept, dropped } = this.#divide();
    for (const image of dropped) catalogue.remove(image.manifestDigest);
    const marks = new Set<string>();
    this.#marks = marks;
    const keptDocuments = new Set<Digest>();
    for (const image of kept) {
      for (const digest of documentsOf(image)) keptDocuments.add(digest);
      markContents(await tables.load(image.tocDigest), marks);
      signal.throwIfAborted();
    }
    const swept = await sweep(store, (digest) => marks.has(binaryOf(digest)), signal);
    await documents.sweep((digest) => keptDocuments.has(digest) || this.#pins.has(digest));
    const result = {
      removedImages: dropped.length,
      removedContents: swept.removed,
      removedBytes: swept.freedBytes,
    };
    log.info({ ...result, keptImages: kept.length }, 'collected');
    return result;
  }

  /** An image stays when its topmost layer is a snapshot, or a lower one that no staying image has. */
  #divide(): { kept: ImageRecord[]; dropped: ImageRecord[] } {
    const { catalogue, liveChains } = this.#deps;
    const live = liveChains();
    const covered = new Set<ChainId>();
    const kept: ImageRecord[] = [];
    const rest: ImageRecord[] = [];
    const keep = (image: ImageRecord): void => {
      kept.push(image);
      for (const layer of image.layers) covered.add(layer.chainId);
    };
    for (const image of catalogue.list()) {
      const top = image.layers.at(-1);
      if ((top !== undefined && live.has(top.chainId)) || this.#isHeld(image)) keep(image);
      else rest.push(image);
    }
    const dropped: ImageRecord[] = [];
    for (const image of rest) {
      if (image.layers.some(({ chainId }) => live.has(chainId) && !covered.has(chainId))) keep(image);
      else dropped.push(image);
    }
    return { kept, dropped };
  }

  #isHeld(image: ImageRecord): boolean {
    if (this.#pins.has(image.manifestDigest)) return true;
    const { catalogue, nowMs } = this.#deps;
    const names = catalogue.namesOf(image.manifestDigest);
    if (names.length > 0 && names.every((name) => name.registered)) return false;
    return nowMs() - catalogue.touchedMsOf(image.manifestDigest) < UNREGISTERED_GRACE_MS;
  }
}

function documentsOf(image: ImageRecord): Digest[] {
  const index = image.indexDigest === undefined ? [] : [image.indexDigest];
  return [...index, image.manifestDigest, image.configDigest, image.tocDigest];
}

/** All layers' contents, those hidden by upper layers too: trees of fewer layers may be mounted. */
function markContents(tables: ImageTables, marks: Set<string>): void {
  for (const { contents, contentCount } of tables.layers) {
    const bytes = Buffer.from(contents.digest.buffer, contents.digest.byteOffset, contents.digest.byteLength);
    for (let row = 0; row < contentCount; row += 1)
      marks.add(bytes.toString('latin1', row * 32, row * 32 + 32));
  }
}

/** 32 characters instead of 71. */
function binaryOf(digest: Digest): string {
  return Buffer.from(digestHex(digest), 'hex').toString('latin1');
}
