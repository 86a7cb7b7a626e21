import { type BigIntStats, lstatSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { entryPath, openDirectory, readEntries } from './open-directory.ts';
import type { Usage } from './snapshot.ts';

/** Bytes of one block of st_blocks (stat(2)). */
const STAT_BLOCK_BYTES = 512n;
/** Entries looked at before other work gets its turn: about a millisecond. */
const ENTRIES_PER_TURN = 256;
/** Deepest directory counted; each level holds a descriptor. What is deeper is left out. */
const DEPTH_MAX = 512;

/**
 * Disk space and inodes of the tree at `path`, the root included: allocated blocks, so that sparse files count
 * what they take, and every inode once however many names it has. Entries that vanish meanwhile are left out.
 *
 * @throws {NodeJS.ErrnoException} when `path` cannot be read; the signal's reason when aborted.
 */
export async function diskUsage(path: string, signal: AbortSignal): Promise<Usage> {
  return new UsageWalk(signal).run(path);
}

class UsageWalk {
  readonly #signal: AbortSignal;
  /** Inodes with several names that were counted, `device:inode`. */
  readonly #linked = new Set<string>();
  #blocks = 0n;
  #inodes = 0;
  #untilTurn = ENTRIES_PER_TURN;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  async run(path: string): Promise<Usage> {
    this.#signal.throwIfAborted();
    await using root = await openDirectory(path);
    this.#count(await root.stat({ bigint: true }));
    await this.#directory(root, 1);
    return { sizeBytes: Number(this.#blocks * STAT_BLOCK_BYTES), inodes: this.#inodes };
  }

  async #directory(directory: FileHandle, depth: number): Promise<void> {
    for await (const entry of readEntries(directory)) {
      await this.#turn();
      const path = entryPath(directory, entry.name);
      const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      if (stat === undefined) continue;
      this.#count(stat);
      if (stat.isDirectory() && depth < DEPTH_MAX) await this.#descend(path, depth);
    }
  }

  async #descend(path: Buffer, depth: number): Promise<void> {
    const child = await openDirectory(path).catch(ignoreVanished);
    if (child === undefined) return;
    await using open = child;
    await this.#directory(open, depth + 1);
  }

  #count(stat: BigIntStats): void {
    if (stat.nlink > 1n && !stat.isDirectory()) {
      const inode = `${stat.dev}:${stat.ino}`;
      if (this.#linked.has(inode)) return;
      this.#linked.add(inode);
    }
    this.#blocks += stat.blocks;
    this.#inodes += 1;
  }

  async #turn(): Promise<void> {
    this.#untilTurn -= 1;
    if (this.#untilTurn > 0) return;
    this.#untilTurn = ENTRIES_PER_TURN;
    await setImmediate();
    this.#signal.throwIfAborted();
  }
}

function ignoreVanished(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'ELOOP') return undefined;
  throw error;
}
