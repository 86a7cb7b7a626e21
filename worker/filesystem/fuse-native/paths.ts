import type { Tree } from '../../../schemas/toc/tree.ts';

/** Directories whose inode is remembered by path; cleared when full. */
const DIRECTORY_MEMO_LIMIT = 4096;
const NOT_FOUND = -1;

/**
 * Finds inodes by libfuse's paths. A path comes as one Latin-1 character per byte (see README.md), so that
 * names that are not UTF-8 keep their bytes.
 */
export class Paths {
  readonly #tree: Tree;
  readonly #directories = new Map<string, number>();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /** The inode of an absolute path without symlinks in it, or -1. */
  find(path: string): number {
    if (path === '/') return 0;
    const cut = path.lastIndexOf('/');
    const directory = cut === 0 ? 0 : this.#findDirectory(path.slice(0, cut));
    if (directory < 0) return NOT_FOUND;
    return this.#tree.lookup(directory, Buffer.from(path.slice(cut + 1), 'latin1'));
  }

  #findDirectory(path: string): number {
    const known = this.#directories.get(path);
    if (known !== undefined) return known;
    const inode = this.find(path);
    if (this.#directories.size >= DIRECTORY_MEMO_LIMIT) this.#directories.clear();
    this.#directories.set(path, inode);
    return inode;
  }
}
