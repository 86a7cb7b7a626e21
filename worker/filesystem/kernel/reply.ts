import type { Tree } from '../../../schemas/toc/tree.ts';
import {
  ATTR_BYTES,
  ATTR_OUT_BYTES,
  DIRENT_HEAD_BYTES,
  ENTRY_OUT_BYTES,
  MAX_READ_BYTES,
  REPLY_HEADER_BYTES,
  VALID_SECONDS,
} from './protocol.ts';

const DOT = Buffer.from('.');
const DOT_DOT = Buffer.from('..');
const TWO_32 = 2 ** 32;
const BLOCK_BYTES = 4096;
/** Size shown for a directory; overlayfs shows that of the upper one anyway. */
const DIRECTORY_BYTES = 4096;
const TYPE_MASK = 0o170000;
const TYPE_DIRECTORY = 0o040000;

/**
 * The buffer in which one reply at a time is put together, with writers for the protocol's structures.
 * Positions count from the start of the buffer; the body begins at REPLY_HEADER_BYTES. Everything is stored
 * as 32-bit words: each structure of the protocol is a multiple of 8 bytes long.
 *
 * Rows are encoded when asked for (0.2 µs each) and not ahead: 128 bytes an inode would be the largest
 * table of a mounted tree.
 */
export class Reply {
  readonly bytes = Buffer.from(new ArrayBuffer(REPLY_HEADER_BYTES + MAX_READ_BYTES));
  readonly words = new Uint32Array(this.bytes.buffer);

  /** Completes the header. `bodyBytes` are in place. @returns the length to write. */
  finish(uniqueLow: number, uniqueHigh: number, bodyBytes: number): number {
    const words = this.words;
    words[0] = REPLY_HEADER_BYTES + bodyBytes;
    words[1] = 0;
    words[2] = uniqueLow;
    words[3] = uniqueHigh;
    return REPLY_HEADER_BYTES + bodyBytes;
  }

  /** A reply with an error (positive errno) and no body. @returns the length to write. */
  fail(uniqueLow: number, uniqueHigh: number, errno: number): number {
    this.finish(uniqueLow, uniqueHigh, 0);
    this.words[1] = -errno >>> 0;
    return REPLY_HEADER_BYTES;
  }

  /**
   * fuse_attr, 88 bytes: ino u64 0 | size u64 8 | blocks u64 16 | atime mtime ctime u64 24 32 40
   * | their nsec u32 48 52 56 | mode 60 | nlink 64 | uid 68 | gid 72 | rdev 76 | blksize 80 | flags 84
   */
  attr(at: number, tree: Tree, inode: number): void {
    const words = this.words;
    let word = at >>> 2;
    const mode = tree.mode[inode] ?? 0;
    const size = (mode & TYPE_MASK) === TYPE_DIRECTORY ? DIRECTORY_BYTES : (tree.size[inode] ?? 0);
    const seconds = tree.mtimeSec[inode] ?? 0;
    const secondsLow = seconds >>> 0;
    const secondsHigh = Math.floor(seconds / TWO_32) >>> 0;
    const nanoseconds = tree.mtimeNsec[inode] ?? 0;
    words[word++] = inode + 1;
    words[word++] = 0;
    words[word++] = size >>> 0;
    words[word++] = Math.floor(size / TWO_32);
    const blocks = Math.ceil(size / 512);
    words[word++] = blocks >>> 0;
    words[word++] = Math.floor(blocks / TWO_32);
    for (let time = 0; time < 3; time++) {
      words[word++] = secondsLow;
      words[word++] = secondsHigh;
    }
    for (let time = 0; time < 3; time++) words[word++] = nanoseconds;
    words[word++] = mode;
    words[word++] = tree.nlink[inode] ?? 1;
    words[word++] = tree.uid[inode] ?? 0;
    words[word++] = tree.gid[inode] ?? 0;
    words[word++] = tree.rdev[inode] ?? 0;
    words[word++] = BLOCK_BYTES;
    words[word] = 0;
  }

  /** fuse_attr_out, 104 bytes: valid u64 0 | nsec u32 8 | – | attr 16. @returns its size. */
  attrOut(at: number, tree: Tree, inode: number): number {
    this.words.fill(0, at >>> 2, (at + ATTR_OUT_BYTES - ATTR_BYTES) >>> 2);
    this.words[at >>> 2] = VALID_SECONDS;
    this.attr(at + ATTR_OUT_BYTES - ATTR_BYTES, tree, inode);
    return ATTR_OUT_BYTES;
  }

  /**
   * fuse_entry_out, 128 bytes: nodeid u64 0 | generation u64 8 | entry_valid u64 16 | attr_valid u64 24
   * | their nsec u32 32 36 | attr 40. @returns its size.
   */
  entryOut(at: number, tree: Tree, inode: number): number {
    const word = at >>> 2;
    this.words.fill(0, word, (at + ENTRY_OUT_BYTES - ATTR_BYTES) >>> 2);
    this.words[word] = inode + 1;
    this.words[word + 4] = VALID_SECONDS;
    this.words[word + 6] = VALID_SECONDS;
    this.attr(at + ENTRY_OUT_BYTES - ATTR_BYTES, tree, inode);
    return ENTRY_OUT_BYTES;
  }

  /** An entry that says "there is no such name, and there never will be". @returns its size. */
  negativeEntryOut(at: number): number {
    const word = at >>> 2;
    this.words.fill(0, word, (at + ENTRY_OUT_BYTES) >>> 2);
    this.words[word + 4] = VALID_SECONDS;
    return ENTRY_OUT_BYTES;
  }

  /**
   * The entries of a directory from index `first` on, as many as have room; "." and ".." are the first two.
   * With `plus`, each has its entry_out before it. @returns bytes used, 0 at the end.
   */
  listing(at: number, room: number, tree: Tree, directory: number, first: number, plus: boolean): number {
    const start = tree.firstEntry[directory] ?? 0;
    const total = (tree.entryCount[directory] ?? 0) + 2;
    const head = plus ? ENTRY_OUT_BYTES : 0;
    let used = 0;
    for (let index = first; index < total; index++) {
      const entry = start + index - 2;
      let inode = directory;
      let name: Uint8Array = DOT;
      if (index === 1) {
        inode = tree.parent[directory] ?? 0;
        name = DOT_DOT;
      } else if (index > 1) {
        inode = tree.entryInode[entry] ?? 0;
        name = tree.nameAt(entry);
      }
      if (used + head + direntBytes(name.length) > room) break;
      if (plus) {
        // "." and ".." carry no node: the kernel knows them already.
        if (index < 2) this.words.fill(0, (at + used) >>> 2, (at + used + head) >>> 2);
        else this.entryOut(at + used, tree, inode);
        used += head;
      }
      used += this.#dirent(at + used, inode, index + 1, tree.mode[inode] ?? 0, name);
    }
    return used;
  }

  /**
   * fuse_dirent: ino u64 0 | off u64 8 | namelen u32 16 | type u32 20 | name 24, padded to 8. `next` is the
   * position that continues after this entry. @returns its padded size.
   */
  #dirent(at: number, inode: number, next: number, mode: number, name: Uint8Array): number {
    const words = this.words;
    const word = at >>> 2;
    const size = direntBytes(name.length);
    words[word] = inode + 1;
    words[word + 1] = 0;
    words[word + 2] = next;
    words[word + 3] = 0;
    words[word + 4] = name.length;
    words[word + 5] = mode >>> 12;
    // The padding is the last bytes before the next multiple of 8: clear it before the name goes in.
    words[(at + size - 8) >>> 2] = 0;
    words[(at + size - 4) >>> 2] = 0;
    this.bytes.set(name, at + DIRENT_HEAD_BYTES);
    return size;
  }
}

/** Bytes of a directory entry with a name of that length. */
export function direntBytes(nameLength: number): number {
  return (DIRENT_HEAD_BYTES + nameLength + 7) & ~7;
}
