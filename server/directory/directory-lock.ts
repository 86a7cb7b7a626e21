import { readFile, rm, writeFile } from 'node:fs/promises';
import { DirectoryError } from '../../extensions/starlight/directory.ts';

/**
 * Keeps two processes off one PGlite directory, which would damage it. The file names its owner by process
 * id and start time, so that a lock left by a crash, also of an earlier process with the same id (1 in every
 * container), is seen to be void and taken over.
 */
export class DirectoryLock {
  readonly #path: string;
  readonly #owner: string;

  private constructor(path: string, owner: string) {
    this.#path = path;
    this.#owner = owner;
  }

  /** @throws {DirectoryError} of kind `unavailable` while a living process holds it. */
  static async take(path: string): Promise<DirectoryLock> {
    const owner = `${process.pid} ${(await startOf(process.pid)) ?? ''}`;
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        await writeFile(path, owner, { flag: 'wx' });
        return new DirectoryLock(path, owner);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const held = await readFile(path, 'utf8').catch(() => '');
      const [pid = '', start = ''] = held.split(' ');
      if (start !== '' && (await startOf(Number(pid))) === start) {
        throw new DirectoryError(
          { kind: 'unavailable' },
          `the database beside ${path} is in use by process ${pid}`,
        );
      }
      await rm(path, { force: true });
    }
    throw new DirectoryError({ kind: 'unavailable' }, `cannot take ${path}: another process keeps taking it`);
  }

  async release(): Promise<void> {
    const held = await readFile(this.#path, 'utf8').catch(() => undefined);
    if (held === this.#owner) await rm(this.#path, { force: true });
  }
}

/** The boot and the clock tick in which a process started; undefined when there is none (proc(5), field 22). */
async function startOf(pid: number): Promise<string | undefined> {
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  try {
    const [stat, boot] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    ]);
    // The second field is the command in parentheses and may hold blanks.
    const tick = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return tick === undefined ? undefined : `${boot.trim()}/${tick}`;
  } catch {
    return undefined;
  }
}
