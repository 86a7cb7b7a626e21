import { compareBytes } from '../../../schemas/toc/compare-bytes.ts';
import type { Tree } from '../../../schemas/toc/tree.ts';
import { BLOCK_BYTES, DIRENT_BYTES, writeDirent } from './format.ts';

const DOT = Buffer.from('.');
const DOT_DOT = Buffer.from('..');
/** More than this does not go behind the inode but into a block of its own. */
const TAIL_MAX_BYTES = BLOCK_BYTES / 2;

/** Entries `[first, last)` of a directory, which lie in one block, and their bytes. */
export interface DirectoryBlock {
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
}

/** How the entries of a directory lie: in blocks, and what is left behind its inode. */
export interface PackedDirectory {
  readonly blocks: readonly DirectoryBlock[];
  readonly tail: DirectoryBlock | undefined;
}

/**
 * The entries of one directory with `.` and `..`, ascending by the raw bytes of their names, as the kernel's
 * binary search wants them.
 */
export class DirectoryEntries {
  readonly #tree: Tree;
  readonly #directory: number;
  readonly #first: number;
  /** Positions of `.` and `..` among the names. */
  readonly #dot: number;
  readonly #dotDot: number;
  readonly count: number;

  constructor(tree: Tree, directory: number) {
    this.#tree = tree;
    this.#directory = directory;
    this.#first = tree.firstEntry[directory] ?? 0;
    this.count = (tree.entryCount[directory] ?? 0) + 2;
    this.#dot = this.#before(DOT);
    this.#dotDot = this.#before(DOT_DOT) + 1;
  }

  /** The raw bytes of the name at a position; a view. */
  name(at: number): Uint8Array {
    if (at === this.#dot) return DOT;
    if (at === this.#dotDot) return DOT_DOT;
    return this.#tree.nameAt(this.#entry(at));
  }

  inode(at: number): number {
    if (at === this.#dot) return this.#directory;
    if (at === this.#dotDot) return this.#tree.parent[this.#directory] ?? 0;
    return this.#tree.entryInode[this.#entry(at)] ?? 0;
  }

  pack(): PackedDirectory {
    const blocks: DirectoryBlock[] = [];
    let first = 0;
    let bytes = 0;
    for (let at = 0; at < this.count; at += 1) {
      const more = DIRENT_BYTES + this.name(at).length;
      if (bytes + more > BLOCK_BYTES) {
        blocks.push({ first, last: at, bytes });
        first = at;
        bytes = 0;
      }
      bytes += more;
    }
    const rest: DirectoryBlock = { first, last: this.count, bytes };
    if (bytes <= TAIL_MAX_BYTES) return { blocks, tail: rest };
    return { blocks: [...blocks, rest], tail: undefined };
  }

  /** Writes a block's entries, then their names. @param nidOf number of an inode. */
  write(target: Buffer, block: DirectoryBlock, nidOf: (inode: number) => number): void {
    let nameOffset = (block.last - block.first) * DIRENT_BYTES;
    for (let at = block.first; at < block.last; at += 1) {
      const inode = this.inode(at);
      const name = this.name(at);
      const dirent = (at - block.first) * DIRENT_BYTES;
      writeDirent(target, dirent, nidOf(inode), nameOffset, this.#tree.mode[inode] ?? 0);
      target.set(name, nameOffset);
      nameOffset += name.length;
    }
  }

  #entry(at: number): number {
    return this.#first + at - (at > this.#dot ? 1 : 0) - (at > this.#dotDot ? 1 : 0);
  }

  /** How many names of the directory are less than `name`. */
  #before(name: Uint8Array): number {
    const { nameBytes, nameOffset } = this.#tree;
    for (let at = 0; at < this.count - 2; at += 1) {
      const entry = this.#first + at;
      const start = nameOffset[entry] ?? 0;
      if (compareBytes(nameBytes, start, nameOffset[entry + 1] ?? 0, name, 0, name.length) > 0) return at;
    }
    return this.count - 2;
  }
}
