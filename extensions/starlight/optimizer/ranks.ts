import { NONE, type Tree } from '../../../schemas/toc/tree.ts';

/** How often a file was opened in traces, and the sum of its places in them (0 is the first to be opened). */
export interface Rank {
  /** Raw bytes, relative to the root. */
  readonly path: Uint8Array;
  readonly rankSum: number;
  readonly hits: number;
}

/**
 * By content of a tree, the average place in which it was opened: the sum of its places over their number, of
 * several paths the earliest. Infinity where it never was.
 */
export function averageRanks(tree: Tree, ranks: readonly Rank[]): Float64Array {
  const average = new Float64Array(tree.contentCount).fill(Number.POSITIVE_INFINITY);
  for (const { path, rankSum, hits } of ranks) {
    const inode = hits > 0 ? tree.resolve(path) : -1;
    const content = inode < 0 ? NONE : (tree.content[inode] ?? NONE);
    if (content !== NONE) average[content] = Math.min(average[content] ?? 0, rankSum / hits);
  }
  return average;
}
