import type { Tree } from '../../../schemas/toc/tree.ts';

/** As many symlinks as Linux follows in one path. */
const MAX_LINKS = 40;
/** Names in one path, those of symlinks in it among them. */
const MAX_NAMES = 4096;

/**
 * The inode that a path leads to through symlinks, as within a container, or -1.
 * @param from the directory in which a relative path begins
 * @param budget how many names may still be passed, for this path or for several; counted down
 */
export function walk(tree: Tree, path: string, from = 0, budget = { names: MAX_NAMES }): number {
  const pending = path.split('/').reverse();
  let inode = path.startsWith('/') ? 0 : from;
  let links = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    budget.names -= 1;
    if (budget.names < 0) return -1;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      inode = tree.parent[inode] ?? 0;
      continue;
    }
    const next = tree.lookup(inode, Buffer.from(name));
    if (next < 0) return -1;
    const target = tree.linkAt(next);
    if (target.length === 0) {
      inode = next;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) return -1;
    const text = Buffer.from(target).toString();
    if (text.startsWith('/')) inode = 0;
    pending.push(...text.split('/').reverse());
  }
  return inode;
}
