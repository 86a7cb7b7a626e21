import { type Digest, digestAt } from '../oci/digest.ts';
import { compareBytes } from './compare-bytes.ts';
import { NONE } from './kind.ts';
import type { Xattr } from './layer-toc.ts';
import { splitPath } from './path.ts';
import { decodeXattrs } from './tree-xattrs.ts';

/** The columns of a {@link Tree}. Every one is a typed array, so that it can lie in shared memory. */
export interface TreeColumns {
  /** st_mode with its type; one row per inode, row 0 the root. */
  readonly mode: Uint32Array;
  readonly uid: Uint32Array;
  readonly gid: Uint32Array;
  /** Of a file its size, of a symlink the length of its target, otherwise 0. */
  readonly size: Float64Array;
  readonly mtimeSec: Float64Array;
  readonly mtimeNsec: Uint32Array;
  /**
   * Of what is no directory: its names in the layer that it comes from, as overlayfs passes on, even where
   * an upper layer hides some. Of a directory 2 and its subdirectories, as ext4 counts; overlayfs itself
   * reports 1 for a directory that is merged from several layers.
   */
  readonly nlink: Uint32Array;
  /** Of a device, as the kernel's new_encode_dev has it. */
  readonly rdev: Uint32Array;
  /** Offset of its set in `xattrBytes`, 0 for none. */
  readonly xattr: Uint32Array;
  /** Row of the contents; NONE for what is no file or is empty. */
  readonly content: Uint32Array;
  /** Of a symlink: its target is `linkBytes[linkStart, linkStart + linkLength)`. */
  readonly linkStart: Uint32Array;
  readonly linkLength: Uint32Array;
  /** Of a directory the one that holds it, of the root itself; of anything else the directory of its first name. */
  readonly parent: Uint32Array;
  /** Of a directory: its entries are the rows `[firstEntry, firstEntry + entryCount)` of the entries. */
  readonly firstEntry: Uint32Array;
  readonly entryCount: Uint32Array;
  /** Of an inode: the entry with its first name; NONE for the root. */
  readonly nameEntry: Uint32Array;
  readonly linkBytes: Uint8Array;
  readonly xattrBytes: Uint8Array;
  /** One row per name, grouped by directory, within one ascending by the raw bytes of the name. */
  readonly entryInode: Uint32Array;
  /** One more than there are entries. */
  readonly nameOffset: Uint32Array;
  readonly nameBytes: Uint8Array;
  /** sha256, 32 raw bytes per content; each digest once, in the order of first use by an inode. */
  readonly contentDigest: Uint8Array;
  readonly contentSize: Float64Array;
  /** The lowest layer that holds the content, and its row there. */
  readonly contentLayer: Uint16Array;
  readonly contentRow: Uint32Array;
}

/** The columns in a plain object, fit to be posted to another thread. */
export type TreeBuffers = TreeColumns;

/**
 * The merged image: what a container sees of all its layers. Inodes are numbered breadth first, so that the
 * first occurrences of a directory's entries lie together; a FUSE nodeid is the row + 1. About 64 bytes per
 * inode, 8 per entry and 46 per content beside names and targets.
 */
export class Tree implements TreeColumns {
  readonly mode: Uint32Array;
  readonly uid: Uint32Array;
  readonly gid: Uint32Array;
  readonly size: Float64Array;
  readonly mtimeSec: Float64Array;
  readonly mtimeNsec: Uint32Array;
  readonly nlink: Uint32Array;
  readonly rdev: Uint32Array;
  readonly xattr: Uint32Array;
  readonly content: Uint32Array;
  readonly linkStart: Uint32Array;
  readonly linkLength: Uint32Array;
  readonly parent: Uint32Array;
  readonly firstEntry: Uint32Array;
  readonly entryCount: Uint32Array;
  readonly nameEntry: Uint32Array;
  readonly linkBytes: Uint8Array;
  readonly xattrBytes: Uint8Array;
  readonly entryInode: Uint32Array;
  readonly nameOffset: Uint32Array;
  readonly nameBytes: Uint8Array;
  readonly contentDigest: Uint8Array;
  readonly contentSize: Float64Array;
  readonly contentLayer: Uint16Array;
  readonly contentRow: Uint32Array;

  constructor(columns: TreeColumns) {
    this.mode = columns.mode;
    this.uid = columns.uid;
    this.gid = columns.gid;
    this.size = columns.size;
    this.mtimeSec = columns.mtimeSec;
    this.mtimeNsec = columns.mtimeNsec;
    this.nlink = columns.nlink;
    this.rdev = columns.rdev;
    this.xattr = columns.xattr;
    this.content = columns.content;
    this.linkStart = columns.linkStart;
    this.linkLength = columns.linkLength;
    this.parent = columns.parent;
    this.firstEntry = columns.firstEntry;
    this.entryCount = columns.entryCount;
    this.nameEntry = columns.nameEntry;
    this.linkBytes = columns.linkBytes;
    this.xattrBytes = columns.xattrBytes;
    this.entryInode = columns.entryInode;
    this.nameOffset = columns.nameOffset;
    this.nameBytes = columns.nameBytes;
    this.contentDigest = columns.contentDigest;
    this.contentSize = columns.contentSize;
    this.contentLayer = columns.contentLayer;
    this.contentRow = columns.contentRow;
  }

  /** @param shared in SharedArrayBuffers, copied there once, so that threads share and do not copy them. */
  toBuffers(shared = false): TreeBuffers {
    return mapColumns(this, shared ? intoSharedMemory : (column) => column);
  }

  static fromBuffers(buffers: TreeBuffers): Tree {
    return new Tree(buffers);
  }

  get inodeCount(): number {
    return this.mode.length;
  }

  get contentCount(): number {
    return this.contentSize.length;
  }

  /** The inode of `name` in a directory, or -1. */
  lookup(directory: number, name: Uint8Array): number {
    const entry = this.lookupEntry(directory, name);
    return entry < 0 ? -1 : (this.entryInode[entry] ?? -1);
  }

  /** The entry of `name` in a directory, or -1. */
  lookupEntry(directory: number, name: Uint8Array): number {
    const { firstEntry, entryCount, nameOffset, nameBytes } = this;
    let low = firstEntry[directory] ?? 0;
    let high = low + (entryCount[directory] ?? 0);
    while (low < high) {
      const middle = (low + high) >>> 1;
      const start = nameOffset[middle] ?? 0;
      const order = compareBytes(nameBytes, start, nameOffset[middle + 1] ?? 0, name, 0, name.length);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return -1;
  }

  /** The inode of a path from the root, or -1. Follows no symlinks; leading and double slashes do not matter. */
  resolve(path: string | Uint8Array): number {
    let inode = 0;
    for (const name of splitPath(typeof path === 'string' ? Buffer.from(path) : path)) {
      if (inode >= 0) inode = this.lookup(inode, name);
    }
    return inode;
  }

  isDirectory(inode: number): boolean {
    return ((this.mode[inode] ?? 0) & 0o170000) === 0o040000;
  }

  /** The raw bytes of an entry's name; a view. */
  nameAt(entry: number): Uint8Array {
    const { nameBytes, nameOffset } = this;
    return nameBytes.subarray(nameOffset[entry], nameOffset[entry + 1]);
  }

  /** The target of a symlink, empty for all else; a view. */
  linkAt(inode: number): Uint8Array {
    const start = this.linkStart[inode] ?? 0;
    return this.linkBytes.subarray(start, start + (this.linkLength[inode] ?? 0));
  }

  /** The extended attributes of an inode, ascending by name. `trusted.` ones are never among them. */
  xattrs(inode: number): Xattr[] {
    return decodeXattrs(this.xattrBytes, this.xattr[inode] ?? 0);
  }

  digestOfContent(content: number): Digest {
    return digestAt(this.contentDigest, content);
  }

  /** The path of an inode's first name, raw bytes relative to the root; empty for the root. */
  firstPath(inode: number): Uint8Array {
    const { parent, nameEntry } = this;
    const parts: Uint8Array[] = [];
    for (let at = inode; (nameEntry[at] ?? NONE) !== NONE; at = parent[at] ?? 0) {
      if (parts.length > 0) parts.push(SLASH);
      parts.push(this.nameAt(nameEntry[at] ?? 0));
    }
    return Buffer.concat(parts.reverse());
  }

  /** Every name in the tree with its path, breadth first; hard-linked inodes come once per name. */
  *paths(): Generator<{ readonly inode: number; readonly path: Uint8Array }> {
    const { mode, firstEntry, entryCount, entryInode } = this;
    const pathOf = new Map<number, Uint8Array>([[0, new Uint8Array(0)]]);
    for (let inode = 0; inode < mode.length; inode += 1) {
      const directory = pathOf.get(inode);
      if (directory === undefined) continue;
      pathOf.delete(inode);
      const prefix = directory.length === 0 ? directory : Buffer.concat([directory, SLASH]);
      const first = firstEntry[inode] ?? 0;
      for (let entry = first; entry < first + (entryCount[inode] ?? 0); entry += 1) {
        const child = entryInode[entry] ?? 0;
        const path = Buffer.concat([prefix, this.nameAt(entry)]);
        if (this.isDirectory(child)) pathOf.set(child, path);
        yield { inode: child, path };
      }
    }
  }
}

export { NONE };

const SLASH = Buffer.from('/');

type AnyColumn = Uint8Array | Uint16Array | Uint32Array | Float64Array;

function mapColumns(columns: TreeColumns, map: (column: AnyColumn) => AnyColumn): TreeColumns {
  // the own properties of a Tree are its columns
  const entries = Object.entries(columns).map(([name, column]) => [name, map(column as AnyColumn)]);
  return Object.fromEntries(entries) as TreeColumns; // `map` keeps the type of each column
}

function intoSharedMemory(column: AnyColumn): AnyColumn {
  const make = column.constructor as new (buffer: SharedArrayBuffer) => AnyColumn; // of the same type
  const out = new make(new SharedArrayBuffer(column.byteLength));
  out.set(column);
  return out;
}
