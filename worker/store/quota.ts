import type { Digest } from '../../schemas/oci/digest.ts';
import { diskBytesOf } from './usage-count.ts';

/** A content that is to come. */
export type MissingContent = { readonly digest: Digest; readonly sizeBytes: number };

/** Room that is kept for contents on their way. */
export type Reservation = {
  /** What its contents will take up, without those that other reservations are for as well. */
  readonly addedBytes: number;
  /** Gives back what has not arrived. Idempotent. */
  readonly release: () => void;
};

type Entry = { readonly digest: Digest; readonly bytes: number; holders: number; arrived: boolean };

/**
 * How much the store may take up, and how much of that is promised to contents on their way. A content is
 * counted once however many reservations are for it, and no more once it has arrived: then it is the store's.
 * This keeps the books only; who finds them overdrawn makes room or takes back what was reserved.
 *
 * Memory: about 150 bytes per content on its way.
 */
export class Quota {
  /** 0 stands for no limit. */
  readonly limitBytes: number;
  readonly #entries = new Map<Digest, Entry>();
  #reservedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get isLimited(): boolean {
    return this.limitBytes > 0;
  }

  /** What reserved contents will take up that have not arrived. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** How far a store that takes up `usedBytes` is beyond the limit, with all that is on its way. */
  excessBytes(usedBytes: number): number {
    return this.isLimited ? Math.max(0, usedBytes + this.#reservedBytes - this.limitBytes) : 0;
  }

  /** Notes what is to come, whether there is room or not; {@link excessBytes} tells. */
  reserve(missing: Iterable<MissingContent>): Reservation {
    const entries = new Set<Entry>();
    const beforeBytes = this.#reservedBytes;
    for (const { digest, sizeBytes } of missing) {
      const entry = this.#entries.get(digest) ?? this.#enter(digest, diskBytesOf(sizeBytes));
      if (entries.has(entry)) continue;
      entries.add(entry);
      entry.holders += 1;
    }
    const release = (): void => {
      for (const entry of entries) {
        entry.holders -= 1;
        if (entry.arrived || entry.holders > 0) continue;
        this.#entries.delete(entry.digest);
        this.#reservedBytes -= entry.bytes;
      }
      entries.clear();
    };
    return { addedBytes: this.#reservedBytes - beforeBytes, release };
  }

  /** The content is in the store now, and counted there. */
  arrived(digest: Digest): void {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return;
    this.#entries.delete(digest);
    entry.arrived = true;
    this.#reservedBytes -= entry.bytes;
  }

  #enter(digest: Digest, bytes: number): Entry {
    const entry = { digest, bytes, holders: 0, arrived: false };
    this.#entries.set(digest, entry);
    this.#reservedBytes += bytes;
    return entry;
  }
}
