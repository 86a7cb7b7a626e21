import { NONE, type Tree } from '../../../schemas/toc/tree.ts';

/** The PATH of a process whose image sets none (runc, moby). */
const SEARCH = ['usr/local/sbin', 'usr/local/bin', 'usr/sbin', 'usr/bin', 'sbin', 'bin'];
const MAX_LINKS = 40;
/** Arguments that are looked at: a script after its interpreter, a program after a wrapper. */
const MAX_WORDS = 8;

/** The files that the words of a command name: programs on the search path, absolute paths. */
export function findCommand(tree: Tree, command: readonly string[]): number[] {
  const found: number[] = [];
  for (const [number, word] of command.slice(0, MAX_WORDS).entries()) {
    const candidates = word.startsWith('/') ? [word] : SEARCH.map((directory) => `${directory}/${word}`);
    if (word === '' || (number > 0 && word.includes('/') && !word.startsWith('/'))) continue;
    const file = candidates.map((path) => follow(tree, path)).find((inode) => inode >= 0);
    if (file !== undefined) found.push(file);
  }
  return found;
}

/** The file with content that a path leads to through symlinks, or -1. */
export function follow(tree: Tree, path: string): number {
  const pending = path.split('/').reverse();
  let inode = 0;
  let links = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
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
  return tree.content[inode] === NONE ? -1 : inode;
}
