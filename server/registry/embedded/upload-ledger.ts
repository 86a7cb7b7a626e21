import type { Dirent } from 'node:fs';
import { opendir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isMissing } from '../../../schemas/process/system-error.ts';
import { RegistryError } from '../registry-error.ts';
import { removeFile } from './blobs.ts';

export interface UploadLimits {
  /** Under way at once, in all. */
  readonly uploads: number;
  readonly uploadsPerRepository: number;
  /** One to which nothing was added for this long is removed. */
  readonly uploadAgeMs: number;
}

/** What clients are told to wait for before they begin another upload. */
const RETRY_AFTER_S = 30;

export interface UploadLedgerOptions extends UploadLimits {
  /** Wall clock, as files have it. */
  readonly now: () => number;
  /** True while a request writes to the file. */
  readonly isBusy: (file: string) => boolean;
}

/**
 * Which uploads are under way, by their files. One process writes to a storage directory, so what it knows is what
 * there is; a sweep of a directory finds what a process before it has left. Memory is one entry per upload.
 */
export class UploadLedger {
  readonly #options: UploadLedgerOptions;
  readonly #files = new Set<string>();
  readonly #perDirectory = new Map<string, number>();

  constructor(options: UploadLedgerOptions) {
    this.#options = options;
  }

  /**
   * Enters an upload that begins. Where there are too many, those that are too old make room first.
   * @throws {RegistryError} 'too-many-uploads'
   */
  async begin(file: string): Promise<void> {
    const directory = dirname(file);
    if (this.#full(directory)) await this.sweep(directory);
    if (this.#full(directory))
      throw new RegistryError({ kind: 'too-many-uploads', retryAfterS: RETRY_AFTER_S });
    this.#add(file);
  }

  /** Takes out one that is no more. */
  end(file: string): void {
    if (!this.#files.delete(file)) return;
    const directory = dirname(file);
    const left = (this.#perDirectory.get(directory) ?? 1) - 1;
    if (left === 0) this.#perDirectory.delete(directory);
    else this.#perDirectory.set(directory, left);
  }

  /** Removes what is too old in a directory of uploads, and enters what is not. @returns how many it removed. */
  async sweep(directory: string): Promise<number> {
    const { now, isBusy, uploadAgeMs } = this.#options;
    let removed = 0;
    for await (const entry of entriesOf(directory)) {
      const file = `${directory}/${entry.name}`;
      if (!entry.isFile()) continue;
      try {
        const { mtimeMs } = await stat(file);
        if (now() - mtimeMs > uploadAgeMs && !isBusy(file)) {
          await removeFile(file);
          this.end(file);
          removed += 1;
        } else if (!entry.name.endsWith('.tmp')) this.#add(file);
      } catch (error) {
        if (!isMissing(error)) throw error; // finished meanwhile
      }
    }
    return removed;
  }

  #full(directory: string): boolean {
    const { uploads, uploadsPerRepository } = this.#options;
    return this.#files.size >= uploads || (this.#perDirectory.get(directory) ?? 0) >= uploadsPerRepository;
  }

  #add(file: string): void {
    if (this.#files.has(file)) return;
    this.#files.add(file);
    const directory = dirname(file);
    this.#perDirectory.set(directory, (this.#perDirectory.get(directory) ?? 0) + 1);
  }
}

async function* entriesOf(directory: string): AsyncGenerator<Dirent> {
  try {
    yield* await opendir(directory);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
