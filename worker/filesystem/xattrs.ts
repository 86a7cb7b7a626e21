import type { Tree } from '../../schemas/toc/tree.ts';

/**
 * Attributes by which overlayfs marks opaque directories, redirects and metadata-only copies. An image must
 * not steer the overlay that lies above it, hence these are never shown.
 */
const OVERLAY_PREFIX = 'trusted.overlay.';

/** One file's attributes, ready for the two questions that the kernel asks. */
export interface XattrSet {
  /** Values by name; names as one Latin-1 character per byte. */
  readonly values: ReadonlyMap<string, Uint8Array>;
  /** The names, each ended by NUL: the answer to listxattr(2). */
  readonly list: Uint8Array;
}

const EMPTY: XattrSet = { values: new Map(), list: new Uint8Array(0) };

/** The attribute sets of a tree, decoded once per set: many files share few sets. */
export class Xattrs {
  readonly #tree: Tree;
  readonly #sets = new Map<number, XattrSet>();
  /** False when no file of the tree has any: then the kernel need not ask at all. */
  readonly any: boolean;

  constructor(tree: Tree) {
    this.#tree = tree;
    this.any = this.#findAny();
  }

  of(inode: number): XattrSet {
    const row = this.#tree.xattr[inode] ?? 0;
    if (row === 0) return EMPTY;
    let set = this.#sets.get(row);
    if (set === undefined) {
      set = this.#decode(inode);
      this.#sets.set(row, set);
    }
    return set;
  }

  #decode(inode: number): XattrSet {
    const values = new Map<string, Uint8Array>();
    for (const [name, value] of this.#tree.xattrs(inode)) {
      const text = Buffer.from(name).toString('latin1');
      if (!text.startsWith(OVERLAY_PREFIX)) values.set(text, value);
    }
    if (values.size === 0) return EMPTY;
    const list = Buffer.from([...values.keys()].map((name) => `${name}\0`).join(''), 'latin1');
    return { values, list };
  }

  #findAny(): boolean {
    const column = this.#tree.xattr;
    for (let inode = 0; inode < column.length; inode++) {
      if (column[inode] !== 0 && this.of(inode).values.size > 0) return true;
    }
    return false;
  }
}
