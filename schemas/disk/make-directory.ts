import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isMissing } from '../process/system-error.ts';

/**
 * Makes a directory, and those above it that are missing; one that is there is left as it is. `mode` is that of all
 * that are made, less the umask.
 *
 * Node's own recursive mkdir takes ENOENT for a missing parent for ever: below /proc, which takes no directories and
 * says so by ENOENT, it never ends. For every path that people name.
 *
 * @throws the system's error, where it cannot be made or something else is in its place.
 */
export async function makeDirectory(path: string, mode = 0o777): Promise<void> {
  try {
    await makeOne(path, mode);
  } catch (error) {
    const parent = dirname(path);
    if (!isMissing(error) || parent === path) throw error;
    await makeDirectory(parent, mode);
    await makeOne(path, mode);
  }
}

/** Of which the parent is there; it may be there itself, as where another was faster. */
async function makeOne(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (!(await isDirectory(path))) throw error;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false, // why it cannot be made says more
  );
}
