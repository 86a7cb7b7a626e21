import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isRepositoryName } from '../../../schemas/oci/reference.ts';
import { isMissing } from '../../../schemas/process/system-error.ts';

/** The repositories below `root` that hold an image layout, in no order; at most `limit`. */
export async function listRepositories(
  root: string,
  limit: number,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const found: string[] = [];
  const walk = async (name: string): Promise<void> => {
    signal.throwIfAborted();
    const entries = await readdir(join(root, name), { withFileTypes: true }).catch((error: unknown) => {
      if (isMissing(error)) return []; // deleted meanwhile
      throw error;
    });
    for (const entry of entries) {
      if (found.length >= limit) return;
      if (!entry.isDirectory()) continue;
      if (entry.name === '_layout' && isRepositoryName(name)) found.push(name);
      // Names that begin so are never parts of a repository's.
      else if (!entry.name.startsWith('_')) await walk(name === '' ? entry.name : `${name}/${entry.name}`);
    }
  };
  await walk('');
  return found;
}
