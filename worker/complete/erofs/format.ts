/**
 * The part of EROFS's format on disk that a metadata image needs (Linux, fs/erofs/erofs_fs.h). All numbers are
 * little endian. The image is blocks of 4096 bytes; an inode lies at its number (nid) times 32.
 *
 *     0      zeros
 *     1024   superblock, 128 bytes
 *     1152   inodes: head of 64 bytes | extended attributes | the tail of a directory, a symlink's target, or
 *            the table of a file's chunks
 *     …      blocks of directories, and targets that are too long for their inode
 */

export const BLOCK_BITS = 12;
export const BLOCK_BYTES = 4096;
export const SUPER_OFFSET = 1024;
export const SUPER_BYTES = 128;
/** Inodes begin at multiples of this; the quotient is their number. */
export const SLOT_BYTES = 32;
export const INODE_BYTES = 64;
export const DIRENT_BYTES = 12;
export const XATTR_HEADER_BYTES = 12;
export const XATTR_ENTRY_BYTES = 4;

const MAGIC = 0xe0f5e1e2;
/** EROFS_FEATURE_COMPAT_MTIME: times are of modification. */
const FEATURE_COMPAT = 0x2;
/** EROFS_FEATURE_INCOMPAT_CHUNKED_FILE (Linux 5.15). */
const FEATURE_INCOMPAT = 0x4;

/** Where the data of an inode lies (EROFS_INODE_*). */
export const LAYOUT = { blocks: 0, inline: 2, chunks: 4 } as const;
export type Layout = (typeof LAYOUT)[keyof typeof LAYOUT];

/** EROFS_CHUNK_FORMAT_BLKBITS_MASK */
const CHUNK_BITS_MAX = 31;

/** File types of directory entries by the type bits of st_mode, shifted right by 12. */
const DIRENT_TYPE: ReadonlyMap<number, number> = new Map([
  [0o10, 1], // regular file
  [0o04, 2], // directory
  [0o02, 3], // character device
  [0o06, 4], // block device
  [0o01, 5], // fifo
  [0o14, 6], // socket
  [0o12, 7], // symlink
]);

const TWO_32 = 2 ** 32;

/** What the superblock says. */
export interface Superblock {
  readonly inodes: number;
  readonly blocks: number;
  readonly rootNid: number;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
}

/**
 * erofs_super_block: magic u32 0 | checksum 4 | feature_compat 8 | blkszbits u8 12 | root_nid u16 14 | inos u64 16
 * | blocks u32 36 | meta_blkaddr 40 | xattr_blkaddr 44 | uuid 48 | feature_incompat 80
 */
export function superblock(content: Superblock): Buffer {
  const bytes = Buffer.alloc(SUPER_BYTES);
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(FEATURE_COMPAT, 8);
  bytes.writeUInt8(BLOCK_BITS, 12);
  bytes.writeUInt16LE(content.rootNid, 14);
  bytes.writeBigUInt64LE(BigInt(content.inodes), 16);
  bytes.writeUInt32LE(content.blocks, 36);
  bytes.set(content.uuid.subarray(0, 16), 48);
  bytes.writeUInt32LE(FEATURE_INCOMPAT, 80);
  return bytes;
}

/** The head of an inode. */
export interface InodeHead {
  readonly layout: Layout;
  readonly xattrBytes: number;
  readonly mode: number;
  readonly sizeBytes: number;
  /** First block, device number or format of the chunks. */
  readonly place: number;
  /** For programs with 32-bit inode numbers. */
  readonly number: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSec: number;
  readonly mtimeNsec: number;
  readonly nlink: number;
}

/**
 * erofs_inode_extended: format u16 0 | xattr_icount u16 2 | mode u16 4 | size u64 8 | block, rdev or chunk format
 * u32 16 | ino u32 20 | uid u32 24 | gid u32 28 | mtime i64 32 | nsec u32 40 | nlink u32 44
 */
export function writeInodeHead(bytes: Buffer, inode: InodeHead): void {
  bytes.fill(0, 0, INODE_BYTES);
  bytes.writeUInt16LE((inode.layout << 1) | 1, 0);
  bytes.writeUInt16LE(xattrCount(inode.xattrBytes), 2);
  bytes.writeUInt16LE(inode.mode, 4);
  writeUInt53(bytes, inode.sizeBytes, 8);
  bytes.writeUInt32LE(inode.place, 16);
  bytes.writeUInt32LE(inode.number, 20);
  bytes.writeUInt32LE(inode.uid, 24);
  bytes.writeUInt32LE(inode.gid, 28);
  bytes.writeBigInt64LE(BigInt(inode.mtimeSec), 32);
  bytes.writeUInt32LE(inode.mtimeNsec, 40);
  bytes.writeUInt32LE(inode.nlink, 44);
}

/** i_xattr_icount of attributes that take up so many bytes with their header. */
function xattrCount(xattrBytes: number): number {
  return xattrBytes === 0 ? 0 : (xattrBytes - XATTR_HEADER_BYTES) / 4 + 1;
}

/** How many bits beyond those of a block a chunk has, so that a file of this size is as few chunks as can be. */
export function chunkBits(sizeBytes: number): number {
  const bits = Math.ceil(Math.log2(sizeBytes));
  return Math.min(Math.max(bits - BLOCK_BITS, 0), CHUNK_BITS_MAX);
}

/** How many chunks a file of this size has. */
export function chunkCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / 2 ** (chunkBits(sizeBytes) + BLOCK_BITS));
}

/** erofs_dirent: nid u64 0 | nameoff u16 8 | file_type u8 10 | – u8 11 */
export function writeDirent(bytes: Buffer, at: number, nid: number, nameOffset: number, mode: number): void {
  writeUInt53(bytes, nid, at);
  bytes.writeUInt16LE(nameOffset, at + 8);
  bytes.writeUInt16LE(DIRENT_TYPE.get(mode >>> 12) ?? 0, at + 10);
}

export function alignUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

function writeUInt53(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value % TWO_32, at);
  bytes.writeUInt32LE(Math.floor(value / TWO_32), at + 4);
}
