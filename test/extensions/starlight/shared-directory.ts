import type { Directory } from '../../../extensions/starlight/directory.ts';
import { openDirectory } from '../../../server/directory/open.ts';

let opened: Promise<Directory> | undefined;

/** One PGlite in memory for all tests of this process: each takes seconds to make. Tests keep to repositories of their own. */
export function sharedDirectory(): Promise<Directory> {
  opened ??= openDirectory({ kind: 'pglite' });
  return opened;
}
