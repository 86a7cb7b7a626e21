import type { Tree } from '../../../schemas/toc/tree.ts';
import { findCommand } from './find-command.ts';

/**
 * What a container opens first when nobody has traced it, by what starts first in practice: the command of
 * the image's config, the dynamic loader, shared libraries, then programs and configuration, then the rest,
 * and last what only people and compilers read.
 */
export const LIKELY = { command: 0, loader: 1, library: 2, program: 3, rest: 4, documents: 5 } as const;
export type Likely = (typeof LIKELY)[keyof typeof LIKELY];

const DIRECTORIES: readonly (readonly [path: string, likely: Likely])[] = [
  ...[
    'lib',
    'lib32',
    'lib64',
    'libx32',
    'usr/lib',
    'usr/lib32',
    'usr/lib64',
    'usr/libx32',
    'usr/local/lib',
  ].map((path) => [path, LIKELY.library] as const),
  ...['bin', 'sbin', 'usr/bin', 'usr/sbin', 'usr/local/bin', 'usr/local/sbin', 'etc'].map(
    (path) => [path, LIKELY.program] as const,
  ),
  ...['usr/share/doc', 'usr/share/man', 'usr/share/info', 'usr/share/locale', 'usr/include', 'usr/src'].map(
    (path) => [path, LIKELY.documents] as const,
  ),
  ...['var/cache', 'var/lib/apt', 'var/lib/dpkg', 'usr/share/i18n', 'usr/lib/debug'].map(
    (path) => [path, LIKELY.documents] as const,
  ),
];

/** By inode: how likely its content is wanted at the start. Meaningful for files only. */
export function likelyStart(tree: Tree, command: readonly string[]): Uint8Array {
  const likely = new Uint8Array(tree.inodeCount).fill(LIKELY.rest);
  const named = new Map<number, Likely>();
  for (const [path, kind] of DIRECTORIES) {
    const inode = tree.resolve(path);
    if (inode > 0) named.set(inode, kind);
  }
  // Parents come before their children.
  for (let inode = 1; inode < likely.length; inode += 1) {
    const above = likely[tree.parent[inode] ?? 0] ?? LIKELY.rest;
    const own = named.get(inode);
    if (own !== undefined) likely[inode] = own;
    else if (above !== LIKELY.library || tree.isDirectory(inode)) likely[inode] = above;
    else likely[inode] = library(tree.nameAt(tree.nameEntry[inode] ?? 0));
  }
  for (const inode of findCommand(tree, command)) likely[inode] = LIKELY.command;
  return likely;
}

/** What a file in a directory of libraries is. */
function library(name: Uint8Array): Likely {
  if (!hasSo(name)) return LIKELY.rest;
  return name[0] === L && name[1] === D && name[2] === DASH ? LIKELY.loader : LIKELY.library;
}

const [DOT, S, O, L, D, DASH] = Buffer.from('.sold-');

function hasSo(name: Uint8Array): boolean {
  for (let at = 0; at + 2 < name.length; at += 1) {
    if (name[at] === DOT && name[at + 1] === S && name[at + 2] === O) return true;
  }
  return false;
}
