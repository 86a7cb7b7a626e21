import { DigestIndex, digestWords } from '../../../schemas/toc/digest-index.ts';
import type { TreeContents } from '../../../schemas/toc/merge.ts';

/** Contents, each digest once. */
export interface Missing {
  /** Finds the row of a content by its digest. */
  readonly index: DigestIndex;
  readonly count: number;
  /** By wanted tree: for each of its contents the row here, or NOT_MISSING. */
  readonly rows: readonly Uint32Array[];
}

export const NOT_MISSING = 0xffffffff;

/**
 * The contents that somebody lacks who has received the held images and wants some others: those of the
 * merged trees of the wanted ones that are in no merged tree of the held ones. (A content that layers of a
 * held image hide from its tree has never been sent, so it counts as missing.)
 */
export function difference(wanted: readonly TreeContents[], held: readonly TreeContents[]): Missing {
  const had = new DigestIndex(held.reduce((sum, tree) => sum + tree.contentSize.length, 0));
  for (const tree of held) {
    const words = digestWords(tree.contentDigest);
    for (let row = 0; row < tree.contentSize.length; row += 1) had.add(words, row);
  }
  const index = new DigestIndex(Math.max(0, ...wanted.map((tree) => tree.contentSize.length)));
  const rows = wanted.map((tree) => {
    const missing = new Uint32Array(tree.contentSize.length).fill(NOT_MISSING);
    const words = digestWords(tree.contentDigest);
    for (let row = 0; row < tree.contentSize.length; row += 1) {
      if (had.length > 0 && had.find(words, row) >= 0) continue;
      missing[row] = index.add(words, row);
    }
    return missing;
  });
  return { index, count: index.length, rows };
}
