import { link, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { syncDirectory, writeDurably } from '../../schemas/disk/durable-file.ts';
import { errorCode, isMissing } from '../../schemas/process/system-error.ts';
import { CliError } from './cli-error.ts';
import { DEFAULT_DIRECTORY, hostDirectories } from './hosts-toml.ts';

/** What became of a file. */
export type Written =
  | { readonly action: 'written' | 'unchanged' }
  | { readonly action: 'replaced'; readonly backup: string };

/** Backups made within one second are told apart by a number; as many as this there are not. */
const MAX_BACKUPS = 100;

/** containerd's tree of `hosts.toml` files (`config_path`, `--hosts-dir`). */
export class CertsDirectory {
  readonly path: string;

  /** `path` is absolute. */
  constructor(path: string) {
    this.path = path;
  }

  /** Where containerd will read the file of a host (a WantedMirror's): in a directory that is there already, if any. */
  async fileOf(host: string): Promise<string> {
    const names = host === DEFAULT_DIRECTORY ? ([DEFAULT_DIRECTORY] as const) : hostDirectories(host);
    for (const name of names) {
      if (await exists(join(this.path, name))) return join(this.path, name, 'hosts.toml');
    }
    return join(this.path, names.at(-1) ?? names[0], 'hosts.toml');
  }

  /**
   * Writes a file of `fileOf`; what it replaces stays beside it as `hosts.toml.bak-<UTC time>`.
   * @throws {CliError} where it cannot be written; then what was there is still there.
   */
  async write(file: string, text: string, now: Date, signal: AbortSignal): Promise<Written> {
    try {
      const before = await readIfThere(file);
      if (before?.toString() === text) return { action: 'unchanged' };
      const mode = before === undefined ? 0o644 : (await stat(file)).mode & 0o777;
      const backup = before === undefined ? undefined : await keep(file, now);
      await writeDurably(file, [Buffer.from(text)], { mode, signal });
      return backup === undefined ? { action: 'written' } : { action: 'replaced', backup };
    } catch (cause) {
      signal.throwIfAborted();
      const reason = errorCode(cause);
      if (reason === undefined) throw cause;
      throw new CliError('certs-dir', `cannot write ${file}: ${reason}`, {
        cause,
        hint: `write as root, or name containerd's config_path with --certs-dir (now ${this.path})`,
      });
    }
  }
}

/** The old file under a second name: the very same, with its owner and mode. No other backup is touched. */
async function keep(file: string, now: Date): Promise<string> {
  const time = now.toISOString().replaceAll(/[-:]|\.\d+/g, '');
  for (let n = 1; ; n += 1) {
    const backup = `${file}.bak-${time}${n === 1 ? '' : `-${n}`}`;
    try {
      await link(file, backup);
      await syncDirectory(dirname(file));
      return backup;
    } catch (error) {
      if (errorCode(error) !== 'EEXIST' || n === MAX_BACKUPS) throw error;
    }
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (cause) {
    if (isMissing(cause)) return false;
    const reason = errorCode(cause);
    if (reason === undefined) throw cause;
    throw new CliError('certs-dir', `cannot look at ${path}: ${reason}`, {
      cause,
      hint: 'name a directory with --certs-dir',
    });
  }
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
