import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import type { Tree } from '../../schemas/toc/tree.ts';
import type { ContentStore } from '../store/content-store.ts';

const run = promisify(execFile);

/** Forces everything written below `root` to its disk: syncfs(2), which Node lacks, by way of sync(1). */
export async function syncFileSystem(root: string, signal: AbortSignal): Promise<void> {
  await run('sync', ['--file-system', root], { signal });
}

/** Names this run of the kernel: what was written in another one may not have reached the disk. */
export async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/**
 * Looks at each content of a tree that is in the store, and removes those that are not what they should be: the
 * machine may have lost power between their renaming and the disk.
 */
export async function verifyPresent(
  store: ContentStore,
  tree: Tree,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  let removed = 0;
  for (let content = 0; content < tree.contentCount; content += 1) {
    const digest = tree.digestOfContent(content);
    const sizeBytes = store.sizeOf(digest);
    if (sizeBytes === undefined) continue;
    if (sizeBytes === tree.contentSize[content] && (await store.rehash(digest, signal))) continue;
    store.delete(digest);
    removed += 1;
  }
  if (removed > 0)
    log.warn({ removed }, 'contents written before the machine went down were damaged: removed');
}
