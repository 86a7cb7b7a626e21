import { type Digest, digestAt, digestHex } from '../../schemas/oci/digest.ts';
import type { ImageTables } from './trees.ts';

/** Place of an image that may be evicted, in the order in which that is done: 0 goes first. */
export type EvictionRank = number;

const NEEDED = -1;

/**
 * Which contents stay, and which go with which image. A content of several images that may be evicted goes with
 * the last of them; one that a needed image has as well never does. All layers' contents count, those hidden by
 * upper layers too: trees of fewer layers may be mounted.
 *
 * Memory: about 100 bytes per content of all images.
 */
export class ContentOwners {
  /** Keys are of 32 characters instead of a digest's 71. */
  readonly #owners = new Map<string, EvictionRank>();

  /** The contents of an image that is needed; of one that becomes so later, too. */
  need(tables: ImageTables): void {
    this.#own(tables, () => NEEDED);
  }

  /** The contents of an image that may be evicted. */
  allow(tables: ImageTables, rank: EvictionRank): void {
    this.#own(tables, (before) => (before === NEEDED || (before ?? NEEDED) > rank ? undefined : rank));
  }

  /** True for a content of any image. */
  has(digest: Digest): boolean {
    return this.#owners.has(binaryOf(digest));
  }

  /** The contents that go with the image of this rank, each once, as it is at the moment it is taken. */
  *goingWith(rank: EvictionRank, tables: ImageTables): Generator<Digest> {
    const seen = new Set<string>();
    for (const { contents, contentCount } of tables.layers) {
      const bytes = asBuffer(contents.digest);
      for (let row = 0; row < contentCount; row += 1) {
        const key = keyAt(bytes, row);
        if (this.#owners.get(key) !== rank || seen.has(key)) continue;
        seen.add(key);
        yield digestAt(contents.digest, row);
      }
    }
  }

  #own(tables: ImageTables, change: (before: EvictionRank | undefined) => EvictionRank | undefined): void {
    for (const { contents, contentCount } of tables.layers) {
      const bytes = asBuffer(contents.digest);
      for (let row = 0; row < contentCount; row += 1) {
        const key = keyAt(bytes, row);
        const owner = change(this.#owners.get(key));
        if (owner !== undefined) this.#owners.set(key, owner);
      }
    }
  }
}

function asBuffer(table: Uint8Array): Buffer {
  return Buffer.from(table.buffer, table.byteOffset, table.byteLength);
}

function keyAt(table: Buffer, row: number): string {
  return table.toString('latin1', row * 32, row * 32 + 32);
}

function binaryOf(digest: Digest): string {
  return Buffer.from(digestHex(digest), 'hex').toString('latin1');
}
