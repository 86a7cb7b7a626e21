import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

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
 * Writes `bytes` under `path` so that at every moment, also after a crash, there is the old file or the new one,
 * whole. `temporaryDir` must be on the same file system. Missing directories are made.
 */
export async function writeDurably(path: string, bytes: Uint8Array, temporaryDir: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await mkdir(temporaryDir, { recursive: true });
  const temporary = `${temporaryDir}/${randomUUID()}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o644);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}
