import { NONE, type Tree } from '../../schemas/toc/tree.ts';
import type { RankRow } from './directory.ts';

/** Of the ranks of an image's predecessor those whose file is, under the same path, a file with content again. */
export function inheritRankRows(ranks: readonly RankRow[], tree: Tree): RankRow[] {
  return ranks.filter(({ path }) => {
    const inode = tree.resolve(path);
    return inode >= 0 && tree.content[inode] !== NONE;
  });
}
