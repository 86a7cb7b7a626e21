import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, openSync, readdirSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { errorCode } from '../../schemas/process/system-error.ts';
import type { Usage } from './snapshot.ts';

/** Bytes of one block of st_blocks (stat(2)). */
const STAT_BLOCK_BYTES = 512n;
/** Entries looked at before other work gets its turn: one to two milliseconds. */
const ENTRIES_PER_TURN = 256;
/** Deepest directory counted; each level holds a descriptor. What is deeper is left out. */
const DEPTH_MAX = 512;
/** Never through a link: the tree may belong to a container that still runs (open-directory.ts). */
const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * Disk space and inodes of the tree at `path`, the root included: allocated blocks, so that sparse files count
 * what they take, and every inode once however many names it has. Entries that vanish meanwhile are left out.
 * The calls are synchronous, in portions: through the thread pool each would cost ten times as much.
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
    const root = openSync(path, OPEN_DIRECTORY);
    try {
      this.#count(fstatSync(root, { bigint: true }));
      await this.#directory(root, 1);
    } finally {
      closeSync(root);
    }
    return { sizeBytes: Number(this.#blocks * STAT_BLOCK_BYTES), inodes: this.#inodes };
  }

  async #directory(directory: number, depth: number): Promise<void> {
    const prefix = Buffer.from(`/proc/self/fd/${directory}/`);
    for (const name of readdirSync(prefix, 'buffer')) {
      this.#untilTurn -= 1;
      if (this.#untilTurn <= 0) await this.#turn();
      const path = Buffer.concat([prefix, name]);
      const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
      if (stat === undefined) continue;
      this.#count(stat);
      if (stat.isDirectory() && depth < DEPTH_MAX) await this.#descend(path, depth);
    }
  }

  async #descend(path: Buffer, depth: number): Promise<void> {
    const child = openUnlessVanished(path);
    if (child === undefined) return;
    try {
      await this.#directory(child, depth + 1);
    } finally {
      closeSync(child);
    }
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
    this.#untilTurn = ENTRIES_PER_TURN;
    await setImmediate();
    this.#signal.throwIfAborted();
  }
}

function openUnlessVanished(path: Buffer): number | undefined {
  try {
    return openSync(path, OPEN_DIRECTORY);
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') return undefined;
    throw error;
  }
}
