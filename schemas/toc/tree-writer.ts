import { ContentTable } from './content-table.ts';
import { KIND, type Kind, NONE } from './kind.ts';
import type { LayerToc } from './layer-toc.ts';
import type { LayerTree } from './layer-tree.ts';
import type { Source } from './merged-names.ts';
import { Tree } from './tree.ts';
import { TreeXattrs } from './tree-xattrs.ts';

const TYPE: Readonly<Record<Kind, number>> = {
  [KIND.directory]: 0o040000,
  [KIND.file]: 0o100000,
  [KIND.symlink]: 0o120000,
  [KIND.hardlink]: 0, // never an inode's own kind
  [KIND.chardev]: 0o020000,
  [KIND.blockdev]: 0o060000,
  [KIND.fifo]: 0o010000,
  [KIND.whiteout]: 0,
  [KIND.opaque]: 0,
};

/** containerd, archive/time.go: 2^63 - 1 nanoseconds after 1970. */
const MAX_TIME_SEC = 9_223_372_036;
const MAX_TIME_NSEC = 854_775_807;

/** Writes the columns of a tree, directory by directory, breadth first. */
export class TreeWriter {
  readonly #mode: Uint32Array;
  readonly #uid: Uint32Array;
  readonly #gid: Uint32Array;
  readonly #size: Float64Array;
  readonly #mtimeSec: Float64Array;
  readonly #mtimeNsec: Uint32Array;
  readonly #nlink: Uint32Array;
  readonly #rdev: Uint32Array;
  readonly #xattr: Uint32Array;
  readonly #content: Uint32Array;
  readonly #linkStart: Uint32Array;
  readonly #linkLength: Uint32Array;
  readonly #parent: Uint32Array;
  readonly #firstEntry: Uint32Array;
  readonly #entryCount: Uint32Array;
  readonly #nameEntry: Uint32Array;
  readonly #entryInode: Uint32Array;
  readonly #nameOffset: Uint32Array;
  #nameBytes: Uint8Array;
  readonly #linkBytes: Uint8Array;
  #inodes = 0;
  #entries = 0;
  #links = 0;
  readonly #xattrs = new TreeXattrs();
  readonly #contents: ContentTable;
  /** By layer tree: the tree inode + 1 of each of its inodes, where that has several names. */
  readonly #linked = new Map<LayerTree, Map<number, number>>();
  readonly #directories: { readonly inode: number; readonly sources: readonly Source[] }[] = [];
  #next = 0;
  #current = 0;

  /** @param layers the lowest first @param trees theirs, the uppermost first */
  constructor(layers: readonly LayerToc[], trees: readonly LayerTree[]) {
    this.#contents = new ContentTable(layers);
    for (const tree of trees) this.#linked.set(tree, new Map());
    const inodes = Math.max(
      1,
      sum(trees, (tree) => tree.inodeCount),
    );
    const entries = sum(trees, (tree) => tree.nameCount);
    this.#mode = new Uint32Array(inodes);
    this.#uid = new Uint32Array(inodes);
    this.#gid = new Uint32Array(inodes);
    this.#size = new Float64Array(inodes);
    this.#mtimeSec = new Float64Array(inodes);
    this.#mtimeNsec = new Uint32Array(inodes);
    this.#nlink = new Uint32Array(inodes);
    this.#rdev = new Uint32Array(inodes);
    this.#xattr = new Uint32Array(inodes);
    this.#content = new Uint32Array(inodes);
    this.#linkStart = new Uint32Array(inodes);
    this.#linkLength = new Uint32Array(inodes);
    this.#parent = new Uint32Array(inodes);
    this.#firstEntry = new Uint32Array(inodes);
    this.#entryCount = new Uint32Array(inodes);
    this.#nameEntry = new Uint32Array(inodes);
    this.#entryInode = new Uint32Array(entries);
    this.#nameOffset = new Uint32Array(entries + 1);
    this.#nameBytes = new Uint8Array(entries * 16 + 256);
    // An inode's target is written once; copied up, it may be so once per layer.
    this.#linkBytes = new Uint8Array(sum(trees, targetBytes));
  }

  root(sources: readonly Source[]): void {
    const top = sources[0];
    if (top !== undefined) this.#inode(top.tree, 0, 0, NONE);
    else {
      // an image without layers
      this.#mode[0] = TYPE[KIND.directory] | 0o755;
      this.#nlink[0] = 2;
      this.#content[0] = NONE;
      this.#nameEntry[0] = NONE;
      this.#inodes = 1;
    }
    this.#directories.push({ inode: 0, sources });
  }

  /** Turns to the next directory and returns what it is merged from. */
  nextDirectory(): readonly Source[] | undefined {
    const next = this.#directories[this.#next];
    if (next === undefined) return undefined;
    // What has been written is needed no more; a queue that is shifted would be slow.
    this.#directories[this.#next] = DONE;
    this.#next += 1;
    this.#current = next.inode;
    this.#firstEntry[next.inode] = this.#entries;
    return next.sources;
  }

  /** Appends a name to the current directory. */
  entry(tree: LayerTree, name: number, directories: readonly Source[]): void {
    const entry = this.#entries;
    const layerInode = tree.inodeOf(name);
    const shared = (tree.nlink[layerInode] ?? 0) > 1 ? this.#linked.get(tree) : undefined;
    let inode = shared?.get(layerInode);
    if (inode === undefined) {
      inode = this.#inode(tree, layerInode, this.#current, entry);
      shared?.set(layerInode, inode);
    }
    this.#entryInode[entry] = inode;
    this.#name(entry, tree.text, tree.nameStart[name] ?? 0, tree.nameEnd[name] ?? 0);
    this.#entries += 1;
    this.#entryCount[this.#current] = (this.#entryCount[this.#current] ?? 0) + 1;
    if (directories.length > 0) {
      this.#nlink[this.#current] = (this.#nlink[this.#current] ?? 0) + 1;
      this.#directories.push({ inode, sources: directories });
    }
  }

  finish(): Tree {
    const inodes = this.#inodes;
    return new Tree({
      mode: cut(this.#mode, inodes),
      uid: cut(this.#uid, inodes),
      gid: cut(this.#gid, inodes),
      size: cut(this.#size, inodes),
      mtimeSec: cut(this.#mtimeSec, inodes),
      mtimeNsec: cut(this.#mtimeNsec, inodes),
      nlink: cut(this.#nlink, inodes),
      rdev: cut(this.#rdev, inodes),
      xattr: cut(this.#xattr, inodes),
      content: cut(this.#content, inodes),
      linkStart: cut(this.#linkStart, inodes),
      linkLength: cut(this.#linkLength, inodes),
      parent: cut(this.#parent, inodes),
      firstEntry: cut(this.#firstEntry, inodes),
      entryCount: cut(this.#entryCount, inodes),
      nameEntry: cut(this.#nameEntry, inodes),
      linkBytes: this.#linkBytes.slice(0, this.#links),
      xattrBytes: this.#xattrs.finish(),
      entryInode: this.#entryInode.slice(0, this.#entries),
      nameOffset: this.#nameOffset.slice(0, this.#entries + 1),
      nameBytes: this.#nameBytes.slice(0, this.#nameOffset[this.#entries]),
      ...this.#contents.finish(),
    });
  }

  #name(entry: number, text: Uint8Array, start: number, end: number): void {
    const to = this.#nameOffset[entry] ?? 0;
    if (to + end - start > this.#nameBytes.length) {
      const grown = new Uint8Array(this.#nameBytes.length * 2 + 256);
      grown.set(this.#nameBytes);
      this.#nameBytes = grown;
    }
    const bytes = this.#nameBytes;
    for (let i = 0; i < end - start; i += 1) bytes[to + i] = text[start + i] ?? 0;
    this.#nameOffset[entry + 1] = to + end - start;
  }

  #inode(tree: LayerTree, from: number, parent: number, entry: number): number {
    const inode = this.#inodes;
    this.#inodes += 1;
    const kind = tree.kindOf(from);
    this.#uid[inode] = tree.uid[from] ?? 0;
    this.#gid[inode] = tree.gid[from] ?? 0;
    const sec = tree.mtimeSec[from] ?? 0;
    const nsec = tree.mtimeNsec[from] ?? 0;
    if (sec >= 0 && (sec < MAX_TIME_SEC || (sec === MAX_TIME_SEC && nsec <= MAX_TIME_NSEC))) {
      this.#mtimeSec[inode] = sec;
      this.#mtimeNsec[inode] = nsec;
    }
    this.#nlink[inode] = kind === KIND.directory ? 2 : (tree.nlink[from] ?? 0);
    const xattrs = tree.xattrsOf(from);
    if (xattrs.length > 0) this.#xattr[inode] = this.#xattrs.offset(xattrs);
    this.#parent[inode] = parent;
    this.#nameEntry[inode] = entry;
    this.#content[inode] = NONE;
    const mode = kind === KIND.symlink ? 0o777 : (tree.mode[from] ?? 0);
    this.#mode[inode] = TYPE[kind] | mode;
    if (kind === KIND.directory || kind === KIND.fifo) return inode;

    const toc = tree.origin.size === 0 ? tree.toc : (tree.origin.get(from) ?? tree).toc;
    const row = tree.row[from] ?? 0;
    if (kind === KIND.file) {
      const content = this.#contents.row(toc, toc.content[row] ?? NONE);
      this.#content[inode] = content;
      this.#size[inode] = this.#contents.sizeBytes(content);
    } else if (kind === KIND.symlink) {
      const target = toc.linkAt(row);
      this.#linkBytes.set(target, this.#links);
      this.#linkStart[inode] = this.#links;
      this.#linkLength[inode] = target.length;
      this.#size[inode] = target.length;
      this.#links += target.length;
    } else {
      this.#rdev[inode] = encodeDevice(toc.devMajor[row] ?? 0, toc.devMinor[row] ?? 0);
    }
    return inode;
  }
}

const DONE = { inode: 0, sources: [] };

/** Linux, new_encode_dev: 12 bits of major and 20 of minor, interleaved. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** The first `length` of a column, without a copy if that is all. */
function cut<T extends Uint32Array | Float64Array>(column: T, length: number): T {
  return column.length === length ? column : (column.slice(0, length) as T); // slice() keeps the type
}

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}

/** The most that the targets of a layer's symlinks take up: its own, and of those copied up. */
function targetBytes(tree: LayerTree): number {
  let total = tree.toc.link.bytes.length;
  for (const [inode, origin] of tree.origin) {
    if (tree.kindOf(inode) === KIND.symlink) total += origin.toc.linkAt(tree.row[inode] ?? 0).length;
  }
  return total;
}
