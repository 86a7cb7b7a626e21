import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestHex } from '../../schemas/oci/digest.ts';
import { isMissing } from '../../schemas/process/system-error.ts';
import { Turns } from './turns.ts';

/** Files take up whole blocks; 4 KiB are those of ext4, xfs and tmpfs. */
const BLOCK_BYTES = 4096;
const SHARD_COUNT = 256;

/** What a content of `sizeBytes` takes up on the disk. */
export function diskBytesOf(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** Contents in the store, and the bytes that they take up on the disk. */
export type StoreUsage = { readonly contents: number; readonly bytes: number };

/**
 * How much the store holds. The first to ask has it counted: names and sizes of all files, shard by shard, none
 * is read. What comes and goes meanwhile is told by {@link added} and {@link removed} in the same turn in which
 * it happens, so that the count is exact from then on.
 */
export class UsageCount {
  readonly #directory: string;
  readonly #isClosed: () => boolean;
  readonly #counted = new Set<string>();
  /** Of the one shard that is being counted: sizes of what was seen there so far. */
  #scan: { readonly shard: string; readonly seen: Map<string, number> } | undefined;
  #counting: Promise<void> | undefined;
  #contents = 0;
  #bytes = 0;

  /** @param isClosed counting stops when it says so; who waits for it gets an error. */
  constructor(directory: string, isClosed: () => boolean) {
    this.#directory = directory;
    this.#isClosed = isClosed;
  }

  /** Fulfils once everything is counted. */
  ready(): Promise<void> {
    this.#counting ??= this.#count().catch((error: unknown) => {
      this.#counting = undefined;
      throw error;
    });
    return this.#counting;
  }

  /** Exact after {@link ready}. */
  get now(): StoreUsage {
    return { contents: this.#contents, bytes: this.#bytes };
  }

  added(digest: Digest, sizeBytes: number): void {
    const { shard, name } = placeOf(digest);
    if (this.#counted.has(shard)) this.#add(1, diskBytesOf(sizeBytes));
    else if (this.#scan?.shard === shard) this.#scan.seen.set(name, sizeBytes);
  }

  removed(digest: Digest, sizeBytes: number): void {
    const { shard, name } = placeOf(digest);
    if (this.#counted.has(shard)) this.#add(-1, -diskBytesOf(sizeBytes));
    else if (this.#scan?.shard === shard) this.#scan.seen.delete(name);
  }

  #add(contents: number, bytes: number): void {
    this.#contents += contents;
    this.#bytes += bytes;
  }

  async #count(): Promise<void> {
    const turns = new Turns();
    for (let row = 0; row < SHARD_COUNT; row += 1) {
      const shard = row.toString(16).padStart(2, '0');
      if (this.#counted.has(shard)) continue;
      const seen = new Map<string, number>();
      this.#scan = { shard, seen };
      for (const name of await this.#namesIn(shard)) {
        if (turns.isOver) await turns.next();
        if (this.#isClosed()) throw new Error('the store was closed while it was counted');
        if (seen.has(name)) continue;
        // What went since it was listed is not there any more; what goes from now on is taken out of `seen`.
        const sizeBytes = statSync(join(this.#directory, shard, name), { throwIfNoEntry: false })?.size;
        if (sizeBytes !== undefined) seen.set(name, sizeBytes);
      }
      for (const sizeBytes of seen.values()) this.#add(1, diskBytesOf(sizeBytes));
      this.#counted.add(shard);
      this.#scan = undefined;
    }
  }

  async #namesIn(shard: string): Promise<readonly string[]> {
    try {
      const names = await readdir(join(this.#directory, shard));
      return names.filter((name) => /^[0-9a-f]{62}$/.test(name));
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }
}

function placeOf(digest: Digest): { shard: string; name: string } {
  const hex = digestHex(digest);
  return { shard: hex.slice(0, 2), name: hex.slice(2) };
}
