import { DIGEST_WORDS, DigestIndex } from '../../../schemas/toc/digest-index.ts';
import type { HeldImage } from './image.ts';

/** Contents, each digest once. */
export interface Missing {
  /** Finds the row of a content by its digest. */
  readonly index: DigestIndex;
  readonly count: number;
  /** By wanted image: for each of the contents that it shows the row here, or NOT_MISSING. */
  readonly rows: readonly Uint32Array[];
}

export const NOT_MISSING = 0xffffffff;

/**
 * The contents that somebody lacks who has received the held images and wants some others: those that the
 * wanted ones show and none of the held ones does. (A content that layers of a held image hide from its tree
 * has never been sent, so it counts as missing.)
 */
export function difference(wanted: readonly HeldImage[], held: readonly HeldImage[]): Missing {
  const had = new DigestIndex(held.reduce((sum, image) => sum + image.shown.length, 0));
  for (const { words, shown } of held) {
    const use = usesOf(words, shown);
    for (let row = 0; row < use.length; row += 1) if (use[row] !== 0) had.add(words, row);
  }
  // With nothing held all is missing; else mostly little, and the table grows as needed.
  const expected = held.length > 0 ? 64 : Math.max(0, ...wanted.map(({ shown }) => shown.length));
  const index = new DigestIndex(expected);
  const rows = wanted.map(({ words, shown }) => {
    const missing = new Uint32Array(shown.length).fill(NOT_MISSING);
    const use = usesOf(words, shown);
    for (let row = 0; row < use.length; row += 1) {
      const one = use[row] ?? 0;
      if (one === 0 || (had.length > 0 && had.find(words, row) >= 0)) continue;
      missing[one - 1] = index.add(words, row);
    }
    return missing;
  });
  return { index, count: index.length, rows };
}

/**
 * By row of `words`, which of `shown` it is, plus 1; 0 where it is none. Looked up in this order the digests of
 * two versions of an image lie side by side in memory, which takes half of the time.
 */
function usesOf(words: Int32Array, shown: Uint32Array): Uint32Array {
  const use = new Uint32Array(words.length / DIGEST_WORDS);
  for (let i = 0; i < shown.length; i += 1) use[shown[i] ?? 0] = i + 1;
  return use;
}
