import { TocError } from './error.ts';
import { KIND } from './kind.ts';
import { byteRow } from './layer-toc.ts';
import type { LayerTree } from './layer-tree.ts';

/** continuity's fs.RootPath gives up after as many symlinks. */
const MAX_LINKS = 255;
const SLASH = 0x2f;
const DOT = 0x2e;

/** A piece of a layer tree's text: a component of a path. */
export type Component = readonly [start: number, end: number];

/** The components of `text[start, end)`, with empty ones and `.` left out and `..` taken as path.Clean does. */
export function components(text: Uint8Array, start: number, end: number): Component[] {
  const parts: Component[] = [];
  let from = start;
  for (let at = start; at <= end; at += 1) {
    if (at < end && text[at] !== SLASH) continue;
    const length = at - from;
    if (length === 2 && text[from] === DOT && text[from + 1] === DOT) {
      const last = parts.at(-1);
      // Of a relative path what leads above its start stays; of an absolute one it is dropped.
      if (last !== undefined && !isUp(text, last)) parts.pop();
      else if (text[start] !== SLASH) parts.push([from, at]);
    } else if (length > 1 || (length === 1 && text[from] !== DOT)) parts.push([from, at]);
    from = at + 1;
  }
  return parts;
}

function isUp(text: Uint8Array, [start, end]: Component): boolean {
  return end - start === 2 && text[start] === DOT && text[start + 1] === DOT;
}

/**
 * Walks from the root of a layer tree along components, through the symlinks of this very layer and no other
 * (continuity, fs/path.go, RootPath); links never lead above the root.
 *
 * @param missing called for a name that is not there as a directory; returns it once it is, or -1 to give up.
 * @returns the name of the directory, or what `missing` gave up with
 * @throws {TocError} on a loop of symlinks
 */
export function walk(
  tree: LayerTree,
  path: readonly Component[],
  missing: (directory: number, component: Component) => number,
): number {
  const pending = path.toReversed();
  let directory = 0;
  let links = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const [start, end] = next;
    if (isUp(tree.text, next)) {
      directory = tree.parentOf(directory);
      continue;
    }
    const name = tree.find(directory, tree.text, start, end);
    const inode = name < 0 ? -1 : tree.inodeOf(name);
    const kind = inode < 0 ? -1 : tree.kindOf(inode);
    if (kind === KIND.directory) {
      directory = name;
    } else if (kind === KIND.symlink) {
      links += 1;
      if (links > MAX_LINKS) throw new TocError('inapplicable', 'a loop of symlinks in a path');
      const target = linkText(tree, inode);
      if (tree.text[target[0]] === SLASH) directory = 0;
      pending.push(...components(tree.text, ...target).reverse());
    } else {
      directory = missing(directory, next);
      if (directory < 0) return directory;
    }
  }
  return directory;
}

/** Where the target of a symlink stands in the text; one copied up from a lower layer is not followed. */
function linkText(tree: LayerTree, inode: number): Component {
  if (tree.origin.has(inode)) return [0, 0];
  const target = byteRow(tree.toc.link, tree.row[inode] ?? 0);
  const start = tree.toc.path.bytes.length + (target.byteOffset - tree.toc.link.bytes.byteOffset);
  return [start, start + target.length];
}
