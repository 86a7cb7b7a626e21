import { NONE, type Tree } from '../../../schemas/toc/tree.ts';
import type { Rank } from './ranks.ts';

/**
 * The ranks that a new version of an image begins with. A file takes those of the file of the same path in
 * the old version. What is left goes by the path without version numbers, from a file that is gone to one
 * that is new: `lib/libz.so.1.2.11` hands its ranks to `lib/libz.so.1.3`; of several such files to the first
 * by path. Sums and counts stay as they are, so that later traces weigh as they would have.
 *
 * @param old the tree of the old version, undefined where it is not known any more
 */
export function inheritRanks(old: Tree | undefined, ranks: readonly Rank[], next: Tree): Rank[] {
  const inherited: Rank[] = [];
  const left: Rank[] = [];
  for (const rank of ranks) {
    const content = contentOf(next, rank.path);
    if (content === NONE) left.push(rank);
    else inherited.push({ ...rank, content });
  }
  if (left.length === 0) return inherited;
  const heirs = newByPattern(old, next, new Set(left.map(({ path }) => pattern(path))));
  const taken = new Set(inherited.map(({ path }) => key(path)));
  for (const rank of left.sort((a, b) => Buffer.compare(a.path, b.path))) {
    const heir = heirs.get(pattern(rank.path))?.find((path) => !taken.has(key(path)));
    if (heir === undefined) continue;
    taken.add(key(heir));
    inherited.push({ ...rank, path: heir, content: contentOf(next, heir) });
  }
  return inherited;
}

/** A path with each number, or row of numbers, put down as one sign. Latin-1 keeps raw bytes apart. */
export function pattern(path: Uint8Array): string {
  return key(path).replace(/\d+(?:[.\-+~_]\d+)*/g, '#');
}

function key(path: Uint8Array): string {
  return Buffer.from(path.buffer, path.byteOffset, path.length).toString('latin1');
}

function contentOf(tree: Tree, path: Uint8Array): number {
  const inode = tree.resolve(path);
  return inode < 0 ? NONE : (tree.content[inode] ?? NONE);
}

/** The files with content that only the new tree has, by pattern, ascending by path. */
function newByPattern(
  old: Tree | undefined,
  next: Tree,
  wanted: ReadonlySet<string>,
): Map<string, Uint8Array[]> {
  const byPattern = new Map<string, Uint8Array[]>();
  for (const { inode, path } of next.paths()) {
    if (next.content[inode] === NONE) continue;
    const its = pattern(path);
    if (!wanted.has(its) || (old !== undefined && old.resolve(path) >= 0)) continue;
    const same = byPattern.get(its);
    if (same === undefined) byPattern.set(its, [path]);
    else same.push(path);
  }
  for (const paths of byPattern.values()) paths.sort(Buffer.compare);
  return byPattern;
}
