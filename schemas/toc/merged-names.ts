import { compareBytes } from './compare-bytes.ts';
import { KIND } from './kind.ts';
import type { LayerTree } from './layer-tree.ts';

/** A directory of one layer: its tree and its name there. */
export interface Source {
  readonly tree: LayerTree;
  readonly directory: number;
}

/**
 * The names that overlayfs shows in a directory merged from `sources`, the uppermost first, ascending by
 * their bytes. Of every name the uppermost layer that has it decides; a directory is joined by the ones below
 * it, down to one that is opaque or to what is no directory.
 *
 * @param emit called with tree and name, and the sources if that is a directory
 */
export function mergedNames(
  sources: readonly Source[],
  emit: (tree: LayerTree, name: number, directories: readonly Source[]) => void,
): void {
  const first = sources[0];
  if (first === undefined) return;
  if (sources.length === 1) {
    const names = sortedChildren(first);
    for (const name of names) emitOne(first.tree, name, [], emit);
    return;
  }
  const lists = sources.map(sortedChildren);
  const at = lists.map(() => 0);
  for (;;) {
    let least = -1;
    for (let i = 0; i < sources.length; i += 1) {
      if ((at[i] ?? 0) >= (lists[i]?.length ?? 0)) continue;
      if (least < 0 || order(sources, lists, at, i, least) < 0) least = i;
    }
    if (least < 0) return;
    const top = sources[least]?.tree;
    const name = lists[least]?.[at[least] ?? 0];
    if (top === undefined || name === undefined) return;
    const lower: Source[] = [];
    for (let i = least + 1; i < sources.length; i += 1) {
      const tree = sources[i]?.tree;
      const same = lists[i]?.[at[i] ?? 0];
      if (tree === undefined || same === undefined || order(sources, lists, at, i, least) !== 0) continue;
      lower.push({ tree, directory: same });
      at[i] = (at[i] ?? 0) + 1;
    }
    at[least] = (at[least] ?? 0) + 1;
    emitOne(top, name, lower, emit);
  }
}

function emitOne(
  tree: LayerTree,
  name: number,
  lower: readonly Source[],
  emit: (tree: LayerTree, name: number, directories: readonly Source[]) => void,
): void {
  const inode = tree.inodeOf(name);
  const kind = tree.kindOf(inode);
  if (kind === KIND.whiteout) return;
  if (kind !== KIND.directory) {
    emit(tree, name, NO_SOURCES);
    return;
  }
  const directories: Source[] = [{ tree, directory: name }];
  let open = tree.opaque[inode] === 0;
  for (const source of lower) {
    const below = source.tree.inodeOf(source.directory);
    if (!open || source.tree.kindOf(below) !== KIND.directory) break;
    directories.push(source);
    open = source.tree.opaque[below] === 0;
  }
  emit(tree, name, directories);
}

const NO_SOURCES: readonly Source[] = [];

function order(
  sources: readonly Source[],
  lists: readonly (readonly number[])[],
  at: readonly number[],
  i: number,
  k: number,
): number {
  const a = sources[i]?.tree;
  const b = sources[k]?.tree;
  const x = lists[i]?.[at[i] ?? 0];
  const y = lists[k]?.[at[k] ?? 0];
  if (a === undefined || b === undefined || x === undefined || y === undefined) return 0;
  return compareNames(a, x, b, y);
}

function compareNames(a: LayerTree, x: number, b: LayerTree, y: number): number {
  return compareBytes(
    a.text,
    a.nameStart[x] ?? 0,
    a.nameEnd[x] ?? 0,
    b.text,
    b.nameStart[y] ?? 0,
    b.nameEnd[y] ?? 0,
  );
}

function sortedChildren({ tree, directory }: Source): readonly number[] {
  // the newest name comes first; most tars are sorted
  const names = tree.children(directory).reverse();
  for (let i = 1; i < names.length; i += 1) {
    if (compareNames(tree, names[i - 1] ?? 0, tree, names[i] ?? 0) > 0) {
      return names.sort((x, y) => compareNames(tree, x, tree, y));
    }
  }
  return names;
}
