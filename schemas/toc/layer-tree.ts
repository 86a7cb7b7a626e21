import { randomInt } from 'node:crypto';
import type { Kind } from './kind.ts';
import type { LayerToc, Xattr } from './layer-toc.ts';

/** Colliding names cannot be prepared in an image: the hash differs from process to process. */
const SEED = randomInt(2 ** 31);

const NO_XATTRS: readonly Xattr[] = [];

/** What an inode of a layer is, beside the columns that its row in the table gives. */
export interface LayerInode {
  readonly kind: Kind;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly xattrs: readonly Xattr[];
  /** The row that gives device number, target or content; of a directory without one, 0. */
  readonly row: number;
}

/**
 * The directory that containerd fills when it applies one layer: overlayfs's upper directory. Names and
 * inodes are separate, for hard links. A name that is removed keeps its row, so that the tables only grow.
 * About 25 bytes per name, twice 4 for its place in the hash table, and 36 per inode.
 *
 * `text` holds the bytes of all names: the paths of the layer's table, then the targets of its links (a
 * directory may owe its name to the target of a symlink).
 */
export class LayerTree {
  readonly toc: LayerToc;
  readonly text: Uint8Array;

  /* One row per name, `nameCount` of them; row 0 is the root. */
  nameCount = 0;
  parent: Uint32Array;
  nameStart: Uint32Array;
  nameEnd: Uint32Array;
  /** inode + 1; 0 for a name that has been removed. */
  #nameInode: Uint32Array;
  /** name + 1 */
  #firstChild: Uint32Array;
  #nextSibling: Uint32Array;
  /** 1 while the name is in its directory's list: a directory that is removed lets its list go. */
  #listed: Uint8Array;

  /* One row per inode, `inodeCount` of them. */
  inodeCount = 0;
  kind: Uint8Array;
  mode: Uint16Array;
  uid: Uint32Array;
  gid: Uint32Array;
  mtimeSec: Float64Array;
  mtimeNsec: Uint32Array;
  row: Uint32Array;
  /** How many names it has. */
  nlink: Uint32Array;
  /** 1 for a directory that hides what lower layers hold in it. */
  opaque: Uint8Array;
  /** Of the inodes that have any. */
  readonly #xattrs = new Map<number, readonly Xattr[]>();
  /** Of an inode copied up from a lower layer: where its row is. */
  readonly origin = new Map<number, LayerTree>();

  /** name + 1, by hash of its directory and its bytes. */
  #table: Uint32Array;

  constructor(toc: LayerToc) {
    this.toc = toc;
    this.text = new Uint8Array(toc.path.bytes.length + toc.link.bytes.length);
    this.text.set(toc.path.bytes);
    this.text.set(toc.link.bytes, toc.path.bytes.length);
    const rows = toc.rowCount + 16;
    let slots = 64;
    while (slots < rows * 2) slots *= 2;
    this.#table = new Uint32Array(slots);
    this.parent = new Uint32Array(rows);
    this.nameStart = new Uint32Array(rows);
    this.nameEnd = new Uint32Array(rows);
    this.#nameInode = new Uint32Array(rows);
    this.#firstChild = new Uint32Array(rows);
    this.#nextSibling = new Uint32Array(rows);
    this.#listed = new Uint8Array(rows);
    this.kind = new Uint8Array(rows);
    this.mode = new Uint16Array(rows);
    this.uid = new Uint32Array(rows);
    this.gid = new Uint32Array(rows);
    this.mtimeSec = new Float64Array(rows);
    this.mtimeNsec = new Uint32Array(rows);
    this.row = new Uint32Array(rows);
    this.nlink = new Uint32Array(rows);
    this.opaque = new Uint8Array(rows);
    this.#pushName(0, 0, 0);
  }

  /** The inode of a name, or -1 when the name is no more. */
  inodeOf(name: number): number {
    return (this.#nameInode[name] ?? 0) - 1;
  }

  parentOf(name: number): number {
    return this.parent[name] ?? 0;
  }

  kindOf(inode: number): Kind {
    return this.kind[inode] as Kind; // addInode() takes nothing else
  }

  /** The name `bytes[start, end)` in a directory, living or removed, or -1. */
  find(directory: number, bytes: Uint8Array, start: number, end: number): number {
    return (this.#table[this.#slot(directory, bytes, start, end)] ?? 0) - 1;
  }

  /** The name `text[start, end)` in a directory, made if it is not there. */
  name(directory: number, start: number, end: number): number {
    const slot = this.#slot(directory, this.text, start, end);
    const found = (this.#table[slot] ?? 0) - 1;
    if (found >= 0) {
      if (this.#listed[found] === 0) this.#list(directory, found);
      return found;
    }
    const name = this.#pushName(directory, start, end);
    this.#table[slot] = name + 1;
    this.#list(directory, name);
    if (this.nameCount * 2 > this.#table.length) this.#growTable();
    return name;
  }

  addInode(inode: LayerInode): number {
    const row = this.inodeCount;
    if (row === this.kind.length) this.#growInodes();
    this.inodeCount += 1;
    this.kind[row] = inode.kind;
    this.mode[row] = inode.mode;
    this.uid[row] = inode.uid;
    this.gid[row] = inode.gid;
    this.mtimeSec[row] = inode.mtimeSec;
    this.mtimeNsec[row] = inode.mtimeNsec;
    this.row[row] = inode.row;
    this.setXattrs(row, inode.xattrs);
    return row;
  }

  /** An inode with the fields of a row of the table. Trees have a lot of them: no object is made. */
  addInodeOfRow(kind: Kind, from: number, xattrs: readonly Xattr[]): number {
    const toc = this.toc;
    const row = this.inodeCount;
    if (row === this.kind.length) this.#growInodes();
    this.inodeCount += 1;
    this.kind[row] = kind;
    this.mode[row] = toc.mode[from] ?? 0;
    this.uid[row] = toc.uid[from] ?? 0;
    this.gid[row] = toc.gid[from] ?? 0;
    this.mtimeSec[row] = toc.mtimeSec[from] ?? 0;
    this.mtimeNsec[row] = toc.mtimeNsec[from] ?? 0;
    this.row[row] = from;
    this.setXattrs(row, xattrs);
    return row;
  }

  xattrsOf(inode: number): readonly Xattr[] {
    return this.#xattrs.get(inode) ?? NO_XATTRS;
  }

  setXattrs(inode: number, xattrs: readonly Xattr[]): void {
    if (xattrs.length > 0) this.#xattrs.set(inode, xattrs);
    else if (this.#xattrs.size > 0) this.#xattrs.delete(inode);
  }

  /** Gives a name, which must have none, its inode. */
  link(name: number, inode: number): void {
    this.#nameInode[name] = inode + 1;
    this.nlink[inode] = (this.nlink[inode] ?? 0) + 1;
  }

  /** Removes a name and, of a directory, all that it holds. */
  remove(name: number): void {
    const stack = [name];
    for (let one = stack.pop(); one !== undefined; one = stack.pop()) {
      const inode = this.inodeOf(one);
      if (inode >= 0) this.nlink[inode] = (this.nlink[inode] ?? 0) - 1;
      this.#nameInode[one] = 0;
      for (let child = this.#firstChild[one] ?? 0; child !== 0; child = this.#nextSibling[child - 1] ?? 0) {
        stack.push(child - 1);
        this.#listed[child - 1] = 0;
      }
      this.#firstChild[one] = 0;
    }
  }

  /** The living names in a directory, the newest first. */
  children(directory: number): number[] {
    const names: number[] = [];
    for (
      let child = this.#firstChild[directory] ?? 0;
      child !== 0;
      child = this.#nextSibling[child - 1] ?? 0
    ) {
      if (this.#nameInode[child - 1] !== 0) names.push(child - 1);
    }
    return names;
  }

  #list(directory: number, name: number): void {
    this.#listed[name] = 1;
    this.#nextSibling[name] = this.#firstChild[directory] ?? 0;
    this.#firstChild[directory] = name + 1;
  }

  #pushName(directory: number, start: number, end: number): number {
    const name = this.nameCount;
    if (name === this.parent.length) this.#growNames();
    this.nameCount += 1;
    this.parent[name] = directory;
    this.nameStart[name] = start;
    this.nameEnd[name] = end;
    return name;
  }

  /** Where the name is in the table, or is to go. */
  #slot(directory: number, bytes: Uint8Array, start: number, end: number): number {
    const table = this.#table;
    const mask = table.length - 1;
    const text = this.text;
    let hash = Math.imul(directory ^ SEED, 0x9e3779b1);
    for (let at = start; at < end; at += 1) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193);
    hash ^= hash >>> 15;
    search: for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const name = (table[slot] ?? 0) - 1;
      if (name < 0) return slot;
      const from = this.nameStart[name] ?? 0;
      if (this.parent[name] !== directory || (this.nameEnd[name] ?? 0) - from !== end - start) continue;
      for (let i = 0; i < end - start; i += 1) if (text[from + i] !== bytes[start + i]) continue search;
      return slot;
    }
  }

  #growTable(): void {
    this.#table = new Uint32Array(this.#table.length * 4);
    for (let name = 1; name < this.nameCount; name += 1) {
      const start = this.nameStart[name] ?? 0;
      const slot = this.#slot(this.parentOf(name), this.text, start, this.nameEnd[name] ?? 0);
      this.#table[slot] = name + 1;
    }
  }

  #growNames(): void {
    this.parent = doubled(this.parent);
    this.nameStart = doubled(this.nameStart);
    this.nameEnd = doubled(this.nameEnd);
    this.#nameInode = doubled(this.#nameInode);
    this.#firstChild = doubled(this.#firstChild);
    this.#nextSibling = doubled(this.#nextSibling);
    this.#listed = doubled(this.#listed);
  }

  #growInodes(): void {
    this.kind = doubled(this.kind);
    this.mode = doubled(this.mode);
    this.uid = doubled(this.uid);
    this.gid = doubled(this.gid);
    this.mtimeSec = doubled(this.mtimeSec);
    this.mtimeNsec = doubled(this.mtimeNsec);
    this.row = doubled(this.row);
    this.nlink = doubled(this.nlink);
    this.opaque = doubled(this.opaque);
  }
}

function doubled<T extends Uint8Array | Uint16Array | Uint32Array | Float64Array>(column: T): T {
  const make = column.constructor as new (length: number) => T; // of the same type
  const out = new make(column.length * 2);
  out.set(column);
  return out;
}
