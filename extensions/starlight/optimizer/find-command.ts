import { NONE, type Tree } from '../../../schemas/toc/tree.ts';
import { walk } from './walk.ts';

/** The PATH of a process whose image sets none (runc, moby). */
export const DEFAULT_PATH: readonly string[] = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
];
/** Arguments that are looked at: a script after its interpreter, a program after a wrapper. */
const MAX_WORDS = 8;

/** The files that the words of a command name: programs on the search path, absolute paths. */
export function findCommand(tree: Tree, command: readonly string[]): number[] {
  const found: number[] = [];
  for (const [number, word] of command.slice(0, MAX_WORDS).entries()) {
    const candidates = word.startsWith('/')
      ? [word]
      : DEFAULT_PATH.map((directory) => `${directory}/${word}`);
    if (word === '' || (number > 0 && word.includes('/') && !word.startsWith('/'))) continue;
    const file = candidates.map((path) => follow(tree, path)).find((inode) => inode >= 0);
    if (file !== undefined) found.push(file);
  }
  return found;
}

/** The file with content that a path leads to through symlinks, or -1. */
export function follow(tree: Tree, path: string): number {
  const inode = walk(tree, path);
  return inode < 0 || tree.content[inode] === NONE ? -1 : inode;
}
