import { stat } from 'node:fs/promises';
import { errorCode } from '../schemas/process/system-error.ts';

/** How often the files are looked at. Mounted secrets are swapped by symlinks, which watching does not see. */
const POLL_MS = 2_000;

export interface WatchedFilesOptions {
  readonly files: readonly string[];
  /** Takes the files as they are now. Where it throws, what was taken before stays in use. */
  readonly load: () => Promise<void>;
  /** Told of each time that `load` was called for a change; with what it threw, if it did. */
  readonly onReload: (error: unknown) => void;
  readonly pollMs?: number;
}

/** Loads files anew whenever one of them has changed, or somebody says so. */
export class WatchedFiles implements AsyncDisposable {
  readonly #options: WatchedFilesOptions;
  readonly #timer: NodeJS.Timeout;
  #seen: string;
  #turn: Promise<void> = Promise.resolve();

  private constructor(options: WatchedFilesOptions, seen: string) {
    this.#options = options;
    this.#seen = seen;
    this.#timer = setInterval(() => void this.#look(), options.pollMs ?? POLL_MS);
    this.#timer.unref();
  }

  /** Loads a first time. @throws what that throws. */
  static async open(options: WatchedFilesOptions): Promise<WatchedFiles> {
    const seen = await stampOf(options.files); // before loading: a change meanwhile is seen later
    await options.load();
    return new WatchedFiles(options, seen);
  }

  /** Loads again, changed or not. Resolves when that is done, well or not. */
  async reload(): Promise<void> {
    await this.#inTurn(async () => {
      this.#seen = await stampOf(this.#options.files);
      await this.#load();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#turn;
  }

  async #look(): Promise<void> {
    await this.#inTurn(async () => {
      const stamp = await stampOf(this.#options.files);
      if (stamp === this.#seen) return;
      this.#seen = stamp;
      await this.#load();
    });
  }

  async #load(): Promise<void> {
    try {
      await this.#options.load();
      this.#options.onReload(undefined);
    } catch (error) {
      this.#options.onReload(error);
    }
  }

  #inTurn(task: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(task).catch((error: unknown) => this.#options.onReload(error));
    return this.#turn;
  }
}

/** Changes whenever one of the files does; one that cannot be looked at has a stamp too. */
async function stampOf(files: readonly string[]): Promise<string> {
  const stamps = await Promise.all(
    files.map(async (file) => {
      try {
        const { ino, mtimeNs, ctimeNs, size } = await stat(file, { bigint: true });
        return `${ino}:${mtimeNs}:${ctimeNs}:${size}`;
      } catch (error) {
        return errorCode(error) ?? 'unreadable';
      }
    }),
  );
  return stamps.join(' ');
}
