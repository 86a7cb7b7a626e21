import type { Tree } from '../../../schemas/toc/tree.ts';
import { DirectoryEntries } from './directory-blocks.ts';
import {
  alignUp,
  BLOCK_BYTES,
  chunkBits,
  chunkCount,
  INODE_BYTES,
  LAYOUT,
  SLOT_BYTES,
  SUPER_BYTES,
  SUPER_OFFSET,
  superblock,
  writeInodeHead,
} from './format.ts';
import { InodeXattrs } from './inode-xattrs.ts';
import { joinParts, type Part } from './pieces.ts';

const TYPE_MASK = 0o170000;
const TYPE_DIRECTORY = 0o040000;
const TYPE_FILE = 0o100000;
const TYPE_SYMLINK = 0o120000;

/**
 * A metadata image: a tree as an EROFS file system in which every file is a hole of the right size, with the
 * path of its content below the store's directory as overlayfs wants it. Mounted as the lower layer of an
 * overlay that has the store's directory as data-only layer, it is the image, whole. The same tree and uuid give
 * the same bytes.
 *
 * Memory: 20 bytes per inode beside the tree.
 */
export class MetadataImage {
  readonly #tree: Tree;
  readonly #uuid: Uint8Array;
  readonly #xattrs: InodeXattrs;
  /** Per inode: where it begins, in bytes. */
  readonly #position: Float64Array;
  /** Per inode: bytes of its data that stand behind its head and attributes. */
  readonly #inlineBytes: Uint32Array;
  /** Per inode: the first of its blocks, counted from the first of all, and how many they are. */
  readonly #firstBlock: Uint32Array;
  readonly #blockCount: Uint32Array;
  /** Block number of the first of all. */
  readonly #dataStart: number;
  #blocks = 0;

  /**
   * @param uuid 16 bytes, others for every image: overlayfs knows files again by it.
   * @throws {XattrLimitError}
   */
  constructor(tree: Tree, uuid: Uint8Array) {
    this.#tree = tree;
    this.#uuid = uuid;
    this.#xattrs = new InodeXattrs(tree);
    this.#position = new Float64Array(tree.inodeCount);
    this.#inlineBytes = new Uint32Array(tree.inodeCount);
    this.#firstBlock = new Uint32Array(tree.inodeCount);
    this.#blockCount = new Uint32Array(tree.inodeCount);
    let end = SUPER_OFFSET + SUPER_BYTES;
    for (let inode = 0; inode < tree.inodeCount; inode += 1) end = this.#place(inode, end);
    this.#dataStart = Math.ceil(end / BLOCK_BYTES);
  }

  get sizeBytes(): number {
    return (this.#dataStart + this.#blocks) * BLOCK_BYTES;
  }

  /** The bytes, in order. */
  pieces(): Generator<Uint8Array<ArrayBuffer>> {
    return joinParts(this.#parts(), this.sizeBytes);
  }

  *#parts(): Generator<Part> {
    const head = {
      inodes: this.#tree.inodeCount,
      blocks: this.#dataStart + this.#blocks,
      rootNid: this.#nid(0),
      uuid: this.#uuid,
    };
    yield { at: SUPER_OFFSET, bytes: superblock(head) };
    let scratch = Buffer.alloc(BLOCK_BYTES);
    for (let inode = 0; inode < this.#tree.inodeCount; inode += 1) {
      const xattrBytes = this.#xattrs.sizeBytes(inode);
      const bytes = INODE_BYTES + xattrBytes + (this.#inlineBytes[inode] ?? 0);
      if (bytes > scratch.length) scratch = Buffer.alloc(bytes);
      this.#writeInode(scratch, inode, xattrBytes);
      yield { at: this.#position[inode] ?? 0, bytes: scratch.subarray(0, bytes) };
    }
    for (let inode = 0; inode < this.#tree.inodeCount; inode += 1) {
      if (this.#blockCount[inode] !== 0) yield* this.#blocksOf(inode);
    }
  }

  /** Finds a place for an inode at `end` or behind it. @returns where it ends. */
  #place(inode: number, end: number): number {
    const fixed = INODE_BYTES + this.#xattrs.sizeBytes(inode);
    let inline = this.#measure(inode);
    let at = alignUp(end, SLOT_BYTES);
    if (this.#type(inode) === TYPE_SYMLINK) {
      // head, attributes and target in one block, or the kernel calls the image corrupt (erofs_fill_symlink)
      if (fixed + inline > BLOCK_BYTES) {
        inline = 0;
        this.#takeBlocks(inode, 1);
      } else if (Math.floor(at / BLOCK_BYTES) !== Math.floor((at + fixed + inline - 1) / BLOCK_BYTES)) {
        at = alignUp(at, BLOCK_BYTES);
      }
    } else if (inline > 0) {
      // of a tail only that it may not cross a border
      const within = (at + fixed) % BLOCK_BYTES;
      if (within + inline > BLOCK_BYTES) at = alignUp(at + BLOCK_BYTES - within, SLOT_BYTES);
    }
    this.#position[inode] = at;
    this.#inlineBytes[inode] = inline;
    return at + fixed + inline;
  }

  /** Takes the blocks that an inode needs. @returns the bytes that go behind its head. */
  #measure(inode: number): number {
    const sizeBytes = this.#tree.size[inode] ?? 0;
    switch (this.#type(inode)) {
      case TYPE_DIRECTORY: {
        const { blocks, tail } = new DirectoryEntries(this.#tree, inode).pack();
        this.#takeBlocks(inode, blocks.length);
        return tail?.bytes ?? 0;
      }
      case TYPE_SYMLINK:
        return sizeBytes;
      case TYPE_FILE:
        return sizeBytes === 0 ? 0 : chunkCount(sizeBytes) * 4;
      default:
        return 0;
    }
  }

  #takeBlocks(inode: number, count: number): void {
    this.#firstBlock[inode] = this.#blocks;
    this.#blockCount[inode] = count;
    this.#blocks += count;
  }

  #writeInode(target: Buffer, inode: number, xattrBytes: number): void {
    const tree = this.#tree;
    const inline = this.#inlineBytes[inode] ?? 0;
    const type = this.#type(inode);
    const sizeBytes = tree.size[inode] ?? 0;
    const isHole = type === TYPE_FILE && sizeBytes > 0;
    const ownBytes = (this.#blockCount[inode] ?? 0) * BLOCK_BYTES + inline;
    writeInodeHead(target, {
      layout: isHole ? LAYOUT.chunks : inline > 0 ? LAYOUT.inline : LAYOUT.blocks,
      xattrBytes,
      mode: tree.mode[inode] ?? 0,
      sizeBytes: type === TYPE_DIRECTORY ? ownBytes : sizeBytes,
      place: isHole ? chunkBits(sizeBytes) : this.#placeOfData(inode),
      number: inode + 1,
      uid: tree.uid[inode] ?? 0,
      gid: tree.gid[inode] ?? 0,
      mtimeSec: tree.mtimeSec[inode] ?? 0,
      mtimeNsec: tree.mtimeNsec[inode] ?? 0,
      nlink: tree.nlink[inode] ?? 1,
    });
    if (xattrBytes > 0) this.#xattrs.write(target, INODE_BYTES, inode);
    if (inline === 0) return;
    const tail = target.subarray(INODE_BYTES + xattrBytes, INODE_BYTES + xattrBytes + inline);
    if (isHole) tail.fill(0xff);
    else if (type === TYPE_SYMLINK) tail.set(tree.linkAt(inode));
    else this.#writeTail(tail, inode);
  }

  /** What `i_u` of the head holds: the device of a device, else the first block. */
  #placeOfData(inode: number): number {
    if (this.#blockCount[inode] === 0) return this.#tree.rdev[inode] ?? 0;
    return this.#dataStart + (this.#firstBlock[inode] ?? 0);
  }

  #writeTail(target: Buffer, directory: number): void {
    const entries = new DirectoryEntries(this.#tree, directory);
    const { tail } = entries.pack();
    if (tail !== undefined) entries.write(target, tail, (inode) => this.#nid(inode));
  }

  *#blocksOf(inode: number): Generator<Part> {
    const first = (this.#dataStart + (this.#firstBlock[inode] ?? 0)) * BLOCK_BYTES;
    if (this.#type(inode) === TYPE_SYMLINK) {
      yield { at: first, bytes: this.#tree.linkAt(inode) };
      return;
    }
    const entries = new DirectoryEntries(this.#tree, inode);
    for (const [index, block] of entries.pack().blocks.entries()) {
      const bytes = Buffer.alloc(BLOCK_BYTES);
      entries.write(bytes, block, (row) => this.#nid(row));
      yield { at: first + index * BLOCK_BYTES, bytes };
    }
  }

  #nid(inode: number): number {
    return (this.#position[inode] ?? 0) / SLOT_BYTES;
  }

  #type(inode: number): number {
    return (this.#tree.mode[inode] ?? 0) & TYPE_MASK;
  }
}
