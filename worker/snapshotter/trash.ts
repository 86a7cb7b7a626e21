import { renameSync } from 'node:fs';
import { mkdir, readdir, rename, rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing } from '../../schemas/process/system-error.ts';
import type { Log } from './log.ts';
import { entryPath, openDirectory, readEntries } from './open-directory.ts';

/** Entries of one directory deleted at the same time. */
const UNLINKS_IN_FLIGHT = 16;
/** Directories deeper than this move to the top of the trash; each level of the descent holds a descriptor. */
const DEPTH_MAX = 64;

/**
 * Directories to be deleted, in the background and one after the other. To discard one is to rename it into the
 * trash, which is quick however large it is; what a killed process left is deleted by the next.
 */
export class Trash {
  readonly #path: string;
  readonly #log: Log;
  readonly #stop = new AbortController();
  #emptying: Promise<void> | undefined;
  #again = false;
  #sequence = 0;

  private constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /** The trash at `path`, a directory for nothing else, on the file system of what is discarded. */
  static async open(path: string, log: Log): Promise<Trash> {
    await mkdir(path, { recursive: true, mode: 0o700 });
    const trash = new Trash(path, log);
    trash.#empty();
    return trash;
  }

  /** Takes `path` away and deletes it later. Nothing happens when it does not exist. */
  discard(path: string): void {
    try {
      renameSync(path, this.#name());
    } catch (error) {
      // left for the next clean-up, which looks for directories of no snapshot
      if (!isMissing(error)) this.#log.warn({ err: error, path }, 'cannot move a directory to the trash');
      return;
    }
    this.#empty();
  }

  /** Resolves when all that was discarded so far is deleted or was given up. */
  async drained(): Promise<void> {
    while (this.#emptying !== undefined) await this.#emptying;
  }

  /** Stops deleting; what is left waits for the next start. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.drained();
  }

  #name(): string {
    this.#sequence += 1;
    return join(this.#path, `${process.pid}-${Date.now()}-${this.#sequence}`);
  }

  #empty(): void {
    this.#again = true;
    if (this.#emptying !== undefined || this.#stop.signal.aborted) return;
    this.#emptying = this.#run().finally(() => {
      this.#emptying = undefined;
    });
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#stop.signal.aborted) {
      this.#again = false;
      for (const name of await readdir(this.#path).catch(() => [])) {
        if (this.#stop.signal.aborted) return;
        const path = join(this.#path, name);
        await this.#delete(path, 1).catch((error: unknown) => {
          this.#log.warn({ err: error, path }, 'cannot delete a discarded directory');
        });
      }
    }
  }

  async #delete(path: string | Buffer, depth: number): Promise<void> {
    await this.#deleteEntries(path, depth);
    if (!this.#stop.signal.aborted) await rmdir(path);
  }

  /** @throws {Error} the first failure, after every deletion under way has ended. */
  async #deleteEntries(path: string | Buffer, depth: number): Promise<void> {
    await using directory = await openDirectory(path);
    const running = new Set<Promise<void>>();
    const failures: unknown[] = [];
    for await (const entry of readEntries(directory)) {
      if (this.#stop.signal.aborted || failures.length > 0) break;
      const entryAt = entryPath(directory, entry.name);
      if (entry.isDirectory()) {
        await this.#deleteDirectory(entryAt, depth).catch((error: unknown) => failures.push(error));
        continue;
      }
      const done = unlink(entryAt)
        .catch((error: unknown) => {
          if (!isMissing(error)) failures.push(error);
        })
        .finally(() => running.delete(done));
      running.add(done);
      if (running.size >= UNLINKS_IN_FLIGHT) await Promise.race(running);
    }
    await Promise.all(running);
    if (failures.length > 0) throw failures[0];
  }

  async #deleteDirectory(path: Buffer, depth: number): Promise<void> {
    if (depth >= DEPTH_MAX) {
      await rename(path, this.#name());
      this.#again = true;
      return;
    }
    await this.#delete(path, depth + 1);
  }
}
