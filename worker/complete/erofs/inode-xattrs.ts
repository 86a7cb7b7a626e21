import { digestHex } from '../../../schemas/oci/digest.ts';
import { NONE, type Tree } from '../../../schemas/toc/tree.ts';
import { alignUp, XATTR_ENTRY_BYTES, XATTR_HEADER_BYTES } from './format.ts';

/** Prefixes that the format abbreviates by a number (EROFS_XATTR_INDEX_*); others no container could ask for. */
const PREFIXES: readonly (readonly [prefix: string, index: number])[] = [
  ['user.', 1],
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
  ['trusted.', 4],
  ['security.', 6],
];

/** i_xattr_icount has 16 bits and counts words, e_value_size has 16 bits, e_name_len 8. */
const ALL_MAX_BYTES = XATTR_HEADER_BYTES + (0xffff - 1) * 4;
const VALUE_MAX_BYTES = 0xffff;
const NAME_MAX_BYTES = 0xff;

const NOTHING = Buffer.alloc(0);

/** An image has attributes that the format cannot hold. */
export class XattrLimitError extends Error {
  constructor(what: string) {
    super(`extended attributes that EROFS cannot hold: ${what}`);
    this.name = 'XattrLimitError';
  }
}

/**
 * The extended attributes of a tree's inodes as they stand behind the head: a header of 12 bytes, then entries
 * (name length u8 | prefix u8 | value size u16 | name | value, each a multiple of 4 bytes).
 *
 * A file that is not empty has two more, by which overlayfs finds its contents in the data layer below:
 * `trusted.overlay.metacopy` (empty: only metadata here) and `trusted.overlay.redirect`, the absolute path of
 * the content there (Documentation/filesystems/overlayfs.rst, "Data-only lower layers"). That an image itself
 * carries none in `trusted.` is the rule of schemas/toc/xattr-rules.ts: it must not steer the overlay.
 */
export class InodeXattrs {
  readonly #tree: Tree;
  /** The image's own, entries without the header, by row of the tree's sets. */
  readonly #own = new Map<number, Buffer>();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  /** Bytes with the header; 0 for none. @throws {XattrLimitError} */
  sizeBytes(inode: number): number {
    const own = this.#ownOf(inode).length;
    const content = this.#tree.content[inode] ?? NONE;
    const all = own + (content === NONE ? 0 : CONTENT_BYTES);
    if (all === 0) return 0;
    if (all + XATTR_HEADER_BYTES > ALL_MAX_BYTES) throw new XattrLimitError(`${all} bytes on one file`);
    return all + XATTR_HEADER_BYTES;
  }

  /** Writes what {@link sizeBytes} has counted. */
  write(target: Buffer, at: number, inode: number): void {
    target.fill(0, at, at + XATTR_HEADER_BYTES);
    let next = at + XATTR_HEADER_BYTES;
    const content = this.#tree.content[inode] ?? NONE;
    if (content !== NONE) {
      const hex = digestHex(this.#tree.digestOfContent(content));
      const redirect = entry(REDIRECT, Buffer.from(`/${hex.slice(0, 2)}/${hex.slice(2)}`));
      target.set(METACOPY_ENTRY, next);
      target.set(redirect, next + METACOPY_ENTRY.length);
      next += CONTENT_BYTES;
    }
    target.set(this.#ownOf(inode), next);
  }

  #ownOf(inode: number): Buffer {
    const row = this.#tree.xattr[inode] ?? 0;
    if (row === 0) return NOTHING;
    let entries = this.#own.get(row);
    if (entries === undefined) {
      entries = Buffer.concat(
        this.#tree.xattrs(inode).flatMap(([name, value]) => {
          const known = abbreviate(Buffer.from(name).toString('latin1'));
          return known === undefined ? [] : [entry(known, value)];
        }),
      );
      this.#own.set(row, entries);
    }
    return entries;
  }
}

type ShortName = { readonly index: number; readonly rest: Buffer };

function abbreviate(name: string): ShortName | undefined {
  const found = PREFIXES.find(([prefix]) => name.startsWith(prefix));
  if (found === undefined) return undefined;
  return { index: found[1], rest: Buffer.from(name.slice(found[0].length), 'latin1') };
}

function entry({ index, rest }: ShortName, value: Uint8Array): Buffer {
  if (rest.length > NAME_MAX_BYTES) throw new XattrLimitError(`a name of ${rest.length} bytes`);
  if (value.length > VALUE_MAX_BYTES) throw new XattrLimitError(`a value of ${value.length} bytes`);
  const bytes = Buffer.alloc(alignUp(XATTR_ENTRY_BYTES + rest.length + value.length, 4));
  bytes.writeUInt8(rest.length, 0);
  bytes.writeUInt8(index, 1);
  bytes.writeUInt16LE(value.length, 2);
  bytes.set(rest, XATTR_ENTRY_BYTES);
  bytes.set(value, XATTR_ENTRY_BYTES + rest.length);
  return bytes;
}

const REDIRECT: ShortName = { index: 4, rest: Buffer.from('overlay.redirect') };
const METACOPY_ENTRY = entry({ index: 4, rest: Buffer.from('overlay.metacopy') }, NOTHING);
/** A path `/<2 hex>/<62 hex>` has 66 bytes. */
const CONTENT_BYTES = METACOPY_ENTRY.length + entry(REDIRECT, Buffer.alloc(66)).length;
