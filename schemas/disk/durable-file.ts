import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeDirectory } from './make-directory.ts';

export interface DurableFileOptions {
  /** Where the file grows, on the same file system; beside its place by default. Made when missing. */
  readonly temporaryDir?: string;
  /** Permissions, less the umask. */
  readonly mode?: number;
  /** Ends the writing between two pieces. */
  readonly signal?: AbortSignal;
}

/** Makes the entries of a directory survive a power failure: a rename alone lasts only as long as the kernel. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes a file so that at every moment, also after a crash, there is the old one or the new one, whole; when it
 * returns, the new one stays. Missing directories are made.
 *
 * @throws what `source` throws, and the signal's reason; then nothing has changed, and nothing is left behind.
 */
export async function writeDurably(
  path: string,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { temporaryDir = dirname(path), mode = 0o644, signal }: DurableFileOptions = {},
): Promise<void> {
  await makeDirectory(dirname(path));
  await makeDirectory(temporaryDir);
  const temporary = join(temporaryDir, `.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      for await (const bytes of source) {
        signal?.throwIfAborted();
        await file.appendFile(bytes);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined); // the first error counts
    throw error;
  }
  await syncDirectory(dirname(path));
}
