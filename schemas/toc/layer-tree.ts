import { randomInt } from 'node:crypto';
import { growing } from './growing.ts';
import type { Kind } from './kind.ts';
import type { LayerToc, Xattr } from './layer-toc.ts';

/** Colliding names cannot be prepared in an image: the hash differs from process to process. */
const SEED = randomInt(2 ** 31);

/** What an inode of a layer is, beside the columns that its row in the table gives. */
export interface LayerInode {
  readonly kind: Kind;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly xattrs: readonly Xattr[];
  /** The row that gives device number, target or content; -1 for a directory that has none. */
  readonly row: number;
}

/**
 * The directory that containerd fills when it applies one layer: overlayfs's upper directory. Names and
 * inodes are separate, for hard links. A name that is removed keeps its row, so that the tables only grow.
 *
 * `text` holds the bytes of all names: the paths of the layer's table, then the targets of its links (a
 * directory may owe its name to the target of a symlink).
 */
export class LayerTree {
  readonly toc: LayerToc;
  readonly text: Uint8Array;

  /* One row per name. */
  readonly parent = growing.u32();
  readonly nameStart = growing.u32();
  readonly nameEnd = growing.u32();
  /** inode + 1; 0 for a name that has been removed. */
  readonly #inode = growing.u32();
  /** name + 1 */
  readonly #firstChild = growing.u32();
  readonly #nextSibling = growing.u32();
  /** 1 while the name is in its directory's list: a directory that is removed lets its list go. */
  readonly #listed = growing.u8();

  /* One row per inode. */
  readonly kind = growing.u8();
  readonly mode = growing.u16();
  readonly uid = growing.u32();
  readonly gid = growing.u32();
  readonly mtimeSec = growing.f64();
  readonly mtimeNsec = growing.u32();
  readonly row = growing.u32();
  /** How many names it has. */
  readonly nlink = growing.u32();
  /** 1 for a directory that hides what lower layers hold in it. */
  readonly opaque = growing.u8();
  readonly xattrs: (readonly Xattr[])[] = [];
  /** Of an inode copied up from a lower layer: where its row is. */
  readonly origin = new Map<number, LayerTree>();

  /** name + 1, by hash of its directory and its bytes. */
  #table = new Uint32Array(1024);

  constructor(toc: LayerToc) {
    this.toc = toc;
    this.text = new Uint8Array(toc.path.bytes.length + toc.link.bytes.length);
    this.text.set(toc.path.bytes);
    this.text.set(toc.link.bytes, toc.path.bytes.length);
    this.#pushName(0, 0, 0);
  }

  /** The inode of a name, or -1 when the name is no more. */
  inodeOf(name: number): number {
    return this.#inode.at(name) - 1;
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
      if (this.#listed.at(found) === 0) this.#list(directory, found);
      return found;
    }
    const name = this.#pushName(directory, start, end);
    this.#table[slot] = name + 1;
    this.#list(directory, name);
    if (this.parent.length * 2 > this.#table.length) this.#grow();
    return name;
  }

  addInode(inode: LayerInode): number {
    this.kind.push(inode.kind);
    this.mode.push(inode.mode);
    this.uid.push(inode.uid);
    this.gid.push(inode.gid);
    this.mtimeSec.push(inode.mtimeSec);
    this.mtimeNsec.push(inode.mtimeNsec);
    this.row.push(inode.row);
    this.nlink.push(0);
    this.opaque.push(0);
    return this.xattrs.push(inode.xattrs) - 1;
  }

  /** Gives a name, which must have none, its inode. */
  link(name: number, inode: number): void {
    this.#inode.set(name, inode + 1);
    this.nlink.set(inode, this.nlink.at(inode) + 1);
  }

  /** Removes a name and, of a directory, all that it holds. */
  remove(name: number): void {
    const stack = [name];
    for (let one = stack.pop(); one !== undefined; one = stack.pop()) {
      const inode = this.inodeOf(one);
      if (inode >= 0) this.nlink.set(inode, this.nlink.at(inode) - 1);
      this.#inode.set(one, 0);
      for (let child = this.#firstChild.at(one); child !== 0; child = this.#nextSibling.at(child - 1)) {
        stack.push(child - 1);
        this.#listed.set(child - 1, 0);
      }
      this.#firstChild.set(one, 0);
    }
  }

  /** The living names in a directory, in no order. */
  children(directory: number): number[] {
    const names: number[] = [];
    for (let child = this.#firstChild.at(directory); child !== 0; child = this.#nextSibling.at(child - 1)) {
      if (this.#inode.at(child - 1) !== 0) names.push(child - 1);
    }
    return names;
  }

  #list(directory: number, name: number): void {
    this.#listed.set(name, 1);
    this.#nextSibling.set(name, this.#firstChild.at(directory));
    this.#firstChild.set(directory, name + 1);
  }

  #pushName(directory: number, start: number, end: number): number {
    this.nameStart.push(start);
    this.nameEnd.push(end);
    this.#inode.push(0);
    this.#firstChild.push(0);
    this.#nextSibling.push(0);
    this.#listed.push(0);
    return this.parent.push(directory);
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
      const from = this.nameStart.at(name);
      if (this.parent.at(name) !== directory || this.nameEnd.at(name) - from !== end - start) continue;
      for (let i = 0; i < end - start; i += 1) if (text[from + i] !== bytes[start + i]) continue search;
      return slot;
    }
  }

  #grow(): void {
    this.#table = new Uint32Array(this.#table.length * 4);
    for (let name = 1; name < this.parent.length; name += 1) {
      const slot = this.#slot(
        this.parent.at(name),
        this.text,
        this.nameStart.at(name),
        this.nameEnd.at(name),
      );
      this.#table[slot] = name + 1;
    }
  }
}
