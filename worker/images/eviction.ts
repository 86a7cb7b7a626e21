import type { ContentStore } from '../store/content-store.ts';
import { Turns } from '../store/turns.ts';
import { diskBytesOf } from '../store/usage-count.ts';
import type { ContentOwners } from './content-owners.ts';
import type { ImageRecord } from './image.ts';
import type { TableCache } from './trees.ts';

export type EvictionParts = {
  /** What may be evicted, in this order; ranks in `owners` are places in it. */
  readonly images: readonly ImageRecord[];
  readonly owners: ContentOwners;
  readonly tables: TableCache;
  readonly store: ContentStore;
};

/** What could go, and going: images in their order, each with the contents that only it and those before it have. */
export class Eviction {
  readonly images: readonly ImageRecord[];
  readonly owners: ContentOwners;
  readonly #tables: TableCache;
  readonly #store: ContentStore;

  constructor({ images, owners, tables, store }: EvictionParts) {
    this.images = images;
    this.owners = owners;
    this.#tables = tables;
    this.#store = store;
  }

  /** What all of them take up on the disk. */
  async totalBytes(signal: AbortSignal): Promise<number> {
    let bytes = 0;
    for (const rank of this.images.keys()) bytes += await this.#bytesOf(rank, signal);
    return bytes;
  }

  /** The first images that take up `wantedBytes` together; when all do not, all if `isEnough`, else none. */
  async victims(
    wantedBytes: number,
    isEnough: boolean,
    signal: AbortSignal,
  ): Promise<readonly ImageRecord[]> {
    let bytes = 0;
    for (const rank of this.images.keys()) {
      bytes += await this.#bytesOf(rank, signal);
      if (bytes >= wantedBytes) return this.images.slice(0, rank + 1);
    }
    return isEnough ? this.images : [];
  }

  /** Removes the contents of the first `count` images; what has come to be needed since stays. */
  async remove(count: number, signal: AbortSignal): Promise<{ contents: number; bytes: number }> {
    const turns = new Turns();
    let contents = 0;
    let bytes = 0;
    for (const [rank, image] of this.images.slice(0, count).entries()) {
      for (const digest of this.owners.goingWith(rank, await this.#tables.load(image.tocDigest))) {
        const freedBytes = this.#store.delete(digest);
        if (freedBytes > 0) contents += 1;
        bytes += freedBytes;
        if (!turns.isOver) continue;
        await turns.next();
        signal.throwIfAborted();
      }
    }
    return { contents, bytes };
  }

  async #bytesOf(rank: number, signal: AbortSignal): Promise<number> {
    const image = this.images[rank];
    if (image === undefined) return 0;
    const turns = new Turns();
    let bytes = 0;
    for (const digest of this.owners.goingWith(rank, await this.#tables.load(image.tocDigest))) {
      bytes += diskBytesOf(this.#store.sizeOf(digest) ?? 0);
      if (!turns.isOver) continue;
      await turns.next();
      signal.throwIfAborted();
    }
    return bytes;
  }
}
