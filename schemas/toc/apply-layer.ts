import { TocError } from './error.ts';
import { KIND, type Kind } from './kind.ts';
import type { LayerToc } from './layer-toc.ts';
import { type LayerInode, LayerTree } from './layer-tree.ts';
import { type Component, components, walk } from './resolve.ts';
import { afterChown, applicable, united } from './xattr-rules.ts';

const SLASH = 0x2f;

/**
 * Applies the entries of one layer, as containerd does (archive/tar.go, applyNaive). A layer above others is
 * applied to an empty upper directory of overlayfs: what lies below does not count, except that a directory
 * which is implied only takes the attributes of the one below (mkparent), and that a hard link may name a
 * file of a lower layer (containerd would refuse it). The lowest layer is applied to a plain directory: a
 * whiteout removes what the layer itself has put there.
 *
 * @param below the trees of the layers below, the nearest first
 * @param lowerFile finds a file of the merged layers below: its tree and inode
 * @throws {TocError} of kind `inapplicable`
 */
export function applyLayer(
  toc: LayerToc,
  below: readonly LayerTree[],
  lowerFile: (path: Uint8Array) => { tree: LayerTree; inode: number } | undefined,
): LayerTree {
  return new Application(toc, below, lowerFile).run();
}

class Application {
  readonly #toc: LayerToc;
  readonly #tree: LayerTree;
  readonly #below: readonly LayerTree[];
  readonly #lowerFile: (path: Uint8Array) => { tree: LayerTree; inode: number } | undefined;
  /** Names that an entry was written to: an opaque marker in the lowest layer spares them. */
  readonly #written = new Set<number>();
  /** The directory last walked to: path and name. Forgotten when anything is removed. */
  #cachedStart = 0;
  #cachedEnd = 0;
  #cachedName = 0;
  #removedDirectory = false;

  constructor(
    toc: LayerToc,
    below: readonly LayerTree[],
    lowerFile: (path: Uint8Array) => { tree: LayerTree; inode: number } | undefined,
  ) {
    this.#toc = toc;
    this.#tree = new LayerTree(toc);
    this.#below = below;
    this.#lowerFile = lowerFile;
    this.#tree.link(0, this.#tree.addInode(ROOT));
  }

  get #lowest(): boolean {
    return this.#below.length === 0;
  }

  run(): LayerTree {
    const spare = this.#lowest && this.#toc.kind.includes(KIND.opaque);
    for (let row = 0; row < this.#toc.rowCount; row += 1) {
      const name = this.#row(row);
      if (spare && name > 0) this.#written.add(name);
    }
    if (this.#removedDirectory) this.#directoryTimes();
    return this.#tree;
  }

  /** Applies a row; the name that it wrote to, or 0 if it wrote none. */
  #row(row: number): number {
    const toc = this.#toc;
    const tree = this.#tree;
    const kind = toc.kindAt(row);
    const start = toc.path.offsets[row] ?? 0;
    const end = toc.path.offsets[row + 1] ?? 0;
    if (kind === KIND.opaque) {
      this.#makeOpaque(this.#directory(start, end));
      return 0;
    }
    // containerd ignores an entry for the root itself, but its time is better than none
    if (start === end) {
      tree.mtimeSec[0] = toc.mtimeSec[row] ?? 0;
      tree.mtimeNsec[0] = toc.mtimeNsec[row] ?? 0;
      return 0;
    }
    let cut = end;
    while (cut > start && toc.path.bytes[cut - 1] !== SLASH) cut -= 1;
    const directory = this.#directory(start, Math.max(start, cut - 1));
    const name = tree.name(directory, cut, end);
    if (kind === KIND.whiteout) {
      this.#whiteout(name);
      return 0;
    }
    const present = tree.inodeOf(name);
    if (kind === KIND.directory && present >= 0 && tree.kindOf(present) === KIND.directory) {
      this.#attributes(present, row, tree.xattrsOf(present));
    } else {
      if (present >= 0) this.#remove(name);
      if (kind === KIND.hardlink) this.#hardlink(name, row);
      else {
        const its = isOverlayWhiteout(toc, row, kind) ? KIND.whiteout : kind;
        tree.link(name, tree.addInodeOfRow(its, row, applicable(kind, toc.xattrsAt(row))));
      }
    }
    if (kind === KIND.directory) this.#cache(start, end, name);
    return name;
  }

  /** Sets owner, extended attributes, mode and time of an inode that is there, as a tar entry has them. */
  #attributes(inode: number, row: number, kept: LayerInode['xattrs']): void {
    const tree = this.#tree;
    const toc = this.#toc;
    const kind = tree.kindOf(inode);
    tree.mode[inode] = toc.mode[row] ?? 0;
    tree.uid[inode] = toc.uid[row] ?? 0;
    tree.gid[inode] = toc.gid[row] ?? 0;
    tree.mtimeSec[inode] = toc.mtimeSec[row] ?? 0;
    tree.mtimeNsec[inode] = toc.mtimeNsec[row] ?? 0;
    tree.setXattrs(inode, united(kept, applicable(kind, toc.xattrsAt(row))));
  }

  #hardlink(name: number, row: number): void {
    const tree = this.#tree;
    const [start, end] = linkOf(this.#toc, row);
    let cut = end;
    while (cut > start && tree.text[cut - 1] !== SLASH) cut -= 1;
    const directory = walk(tree, components(tree.text, start, cut), () => -1);
    const target = directory < 0 ? -1 : tree.find(directory, tree.text, cut, end);
    let inode = target < 0 ? -1 : tree.inodeOf(target);
    if (inode < 0) inode = this.#copyUp(start, cut, end);
    if (tree.kindOf(inode) === KIND.directory) throw refused(this.#toc, row, 'a hard link to a directory');
    if (tree.inodeOf(name) < 0) tree.link(name, inode);
    this.#attributes(inode, row, afterChown(tree.xattrsOf(inode)));
  }

  /** Brings a file of the layers below into this one, under the name that it has there. */
  #copyUp(start: number, cut: number, end: number): number {
    const tree = this.#tree;
    const lower = this.#lowerFile(tree.text.subarray(start, end));
    if (lower === undefined) {
      const target = Buffer.from(tree.text.subarray(start, end)).toString();
      throw new TocError('inapplicable', `a hard link to ${JSON.stringify(target)}, which is not there`);
    }
    const from = lower.tree;
    const inode = tree.addInode({ ...attributesOf(from, lower.inode), row: from.row[lower.inode] ?? 0 });
    tree.origin.set(inode, from.origin.get(lower.inode) ?? from);
    const target = tree.name(this.#directory(start, Math.max(start, cut - 1)), cut, end);
    if (tree.inodeOf(target) < 0) tree.link(target, inode);
    return inode;
  }

  #whiteout(name: number): void {
    const tree = this.#tree;
    const present = tree.inodeOf(name);
    if (this.#lowest) {
      if (present >= 0) this.#remove(name);
    } else if (present < 0) {
      tree.link(name, tree.addInode({ ...ROOT, kind: KIND.whiteout }));
    } else if (tree.kindOf(present) === KIND.directory) {
      // Here containerd fails. A whiteout counts for lower layers only (image-spec, layer.md#whiteouts).
      tree.opaque[present] = 1;
    }
  }

  #makeOpaque(directory: number): void {
    const tree = this.#tree;
    if (!this.#lowest) {
      tree.opaque[tree.inodeOf(directory)] = 1;
      return;
    }
    const stack = [directory];
    for (let one = stack.pop(); one !== undefined; one = stack.pop()) {
      for (const child of tree.children(one)) {
        if (this.#written.has(child)) stack.push(child);
        else this.#remove(child);
      }
    }
  }

  #remove(name: number): void {
    const tree = this.#tree;
    if (tree.kindOf(tree.inodeOf(name)) === KIND.directory) this.#removedDirectory = true;
    tree.remove(name);
    this.#cache(0, 0, 0);
  }

  #cache(start: number, end: number, name: number): void {
    this.#cachedStart = start;
    this.#cachedEnd = end;
    this.#cachedName = name;
  }

  /** The directory of a path, made with all above it where missing. */
  #directory(start: number, end: number): number {
    if (start === end) return 0;
    if (this.#isCached(start, end)) return this.#cachedName;
    const tree = this.#tree;
    const name = walk(tree, components(tree.text, start, end), (directory, component) =>
      this.#implied(directory, component),
    );
    this.#cache(start, end, name);
    return name;
  }

  #isCached(start: number, end: number): boolean {
    const from = this.#cachedStart;
    if (end - start !== this.#cachedEnd - from) return false;
    const text = this.#tree.text;
    // from the end, where paths differ
    for (let i = end - start - 1; i >= 0; i -= 1) if (text[start + i] !== text[from + i]) return false;
    return true;
  }

  /** A directory that no entry has named so far (mkparent): as the nearest one below, else 0755 root:root. */
  #implied(directory: number, component: Component): number {
    const tree = this.#tree;
    const name = tree.name(directory, ...component);
    const present = tree.inodeOf(name);
    const whiteout = present >= 0 && tree.kindOf(present) === KIND.whiteout;
    if (present >= 0 && !whiteout) {
      const text = Buffer.from(tree.text.subarray(...component)).toString();
      throw new TocError('inapplicable', `a path through ${JSON.stringify(text)}, which is no directory`);
    }
    if (whiteout) this.#remove(name);
    const inode = tree.addInode(whiteout ? ROOT : this.#inherited(name));
    tree.link(name, inode);
    if (whiteout) tree.opaque[inode] = 1;
    return name;
  }

  #inherited(name: number): LayerInode {
    const tree = this.#tree;
    const path: number[] = [];
    for (let one = name; one !== 0; one = tree.parentOf(one)) path.push(one);
    path.reverse();
    for (const lower of this.#below) {
      const inode = lowerDirectory(lower, tree, path);
      if (inode === 'other') break;
      if (inode !== undefined) return attributesOf(lower, inode);
    }
    return ROOT;
  }

  /**
   * containerd sets the times of directories at the end, by path: where one has been replaced meanwhile,
   * what stands there now gets the time.
   */
  #directoryTimes(): void {
    const toc = this.#toc;
    const tree = this.#tree;
    for (let row = 0; row < toc.rowCount; row += 1) {
      const start = toc.path.offsets[row] ?? 0;
      const end = toc.path.offsets[row + 1] ?? 0;
      if (toc.kind[row] !== KIND.directory || start === end) continue;
      let last = -1;
      walk(tree, components(tree.text, start, end), (directory, [from, to]) => {
        last = tree.find(directory, tree.text, from, to);
        return -1;
      });
      const directory = last >= 0 ? last : walk(tree, components(tree.text, start, end), () => -1);
      const inode = directory < 0 ? -1 : tree.inodeOf(directory);
      if (inode < 0) continue;
      tree.mtimeSec[inode] = toc.mtimeSec[row] ?? 0;
      tree.mtimeNsec[inode] = toc.mtimeNsec[row] ?? 0;
    }
  }
}

/** The root, which containerd makes itself, and any directory that is implied with none below it. */
const ROOT: LayerInode = {
  kind: KIND.directory,
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtimeSec: 0,
  mtimeNsec: 0,
  xattrs: [],
  row: 0,
};

/** A character device 0:0 is what overlayfs itself keeps as a whiteout. */
function isOverlayWhiteout(toc: LayerToc, row: number, kind: Kind): boolean {
  return kind === KIND.chardev && toc.devMajor[row] === 0 && toc.devMinor[row] === 0;
}

function attributesOf(tree: LayerTree, inode: number): LayerInode {
  return {
    kind: tree.kindOf(inode),
    mode: tree.mode[inode] ?? 0,
    uid: tree.uid[inode] ?? 0,
    gid: tree.gid[inode] ?? 0,
    mtimeSec: tree.mtimeSec[inode] ?? 0,
    mtimeNsec: tree.mtimeNsec[inode] ?? 0,
    xattrs: tree.xattrsOf(inode),
    row: 0,
  };
}

/** The inode of the directory that names of `tree` lead to in a lower layer; 'other' where that is none. */
function lowerDirectory(
  lower: LayerTree,
  tree: LayerTree,
  path: readonly number[],
): number | 'other' | undefined {
  let directory = 0;
  for (const one of path) {
    const name = lower.find(directory, tree.text, tree.nameStart[one] ?? 0, tree.nameEnd[one] ?? 0);
    const inode = name < 0 ? -1 : lower.inodeOf(name);
    if (inode < 0) return undefined;
    const kind = lower.kindOf(inode);
    if (kind === KIND.symlink) {
      const followed = followLink(lower, directory, name);
      if (followed < 0) return undefined;
      directory = followed;
    } else if (kind === KIND.directory) directory = name;
    else return 'other';
  }
  return lower.inodeOf(directory);
}

/** The directory that a symlink of a layer leads to within that layer, or -1. */
function followLink(lower: LayerTree, directory: number, name: number): number {
  const path: Component[] = [[lower.nameStart[name] ?? 0, lower.nameEnd[name] ?? 0]];
  for (let one = directory; one !== 0; one = lower.parentOf(one)) {
    path.unshift([lower.nameStart[one] ?? 0, lower.nameEnd[one] ?? 0]);
  }
  return walk(lower, path, () => -1);
}

function linkOf(toc: LayerToc, row: number): Component {
  const base = toc.path.bytes.length;
  return [base + (toc.link.offsets[row] ?? 0), base + (toc.link.offsets[row + 1] ?? 0)];
}

function refused(toc: LayerToc, row: number, why: string): TocError {
  return new TocError('inapplicable', `${JSON.stringify(Buffer.from(toc.pathAt(row)).toString())}: ${why}`);
}
