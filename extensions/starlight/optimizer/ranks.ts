/** How often a file was opened in traces, and the sum of its places in them (0 is the first to be opened). */
export interface Rank {
  /** Raw bytes, relative to the root. */
  readonly path: Uint8Array;
  /** Its content: the row in the tree of the image that the rank is of, and in its `ShownContents`. */
  readonly content: number;
  readonly rankSum: number;
  readonly hits: number;
}

/**
 * By shown content, the average place in which it was opened: the sum of its places over their number, of
 * several paths the earliest. Infinity where it never was.
 *
 * @param contentCount of the image; ranks of contents beyond are passed over
 */
export function averageRanks(
  contentCount: number,
  ranks: readonly Pick<Rank, 'content' | 'rankSum' | 'hits'>[],
): Float64Array {
  const average = new Float64Array(contentCount).fill(Number.POSITIVE_INFINITY);
  for (const { content, rankSum, hits } of ranks) {
    if (hits > 0 && content < contentCount) {
      average[content] = Math.min(average[content] ?? 0, rankSum / hits);
    }
  }
  return average;
}
