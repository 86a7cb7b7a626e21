/**
 * The part of the kernel's FUSE protocol that a read-only tree needs (include/uapi/linux/fuse.h, 7.31 to
 * 7.45). All numbers are little endian; offsets in bytes.
 *
 *   request   len u32 0 | opcode u32 4 | unique u64 8 | nodeid u64 16 | uid u32 24 | gid u32 28 | pid u32 32
 *             | body 40
 *   reply     len u32 0 | error i32 4 | unique u64 8 | body 16
 */

export const OPCODE = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  setxattr: 21,
  getxattr: 22,
  listxattr: 23,
  removexattr: 24,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  create: 35,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  readdirplus: 44,
  rename2: 45,
} as const;

export const ERRNO = {
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EAGAIN: 11,
  ENODEV: 19,
  ENOTDIR: 20,
  EINVAL: 22,
  EROFS: 30,
  ERANGE: 34,
  ENOSYS: 38,
  EPROTO: 71,
  ENODATA: 61,
  ECONNABORTED: 103,
  ENOTCONN: 107,
} as const;

/** Byte offsets within a request's 40-byte header. */
export const REQUEST = { length: 0, opcode: 4, unique: 8, nodeid: 16, pid: 32, body: 40 } as const;

/** Bytes of a reply's header. */
export const REPLY_HEADER_BYTES = 16;
export const ATTR_BYTES = 88;
/** Validity and attributes: the reply to GETATTR. */
export const ATTR_OUT_BYTES = 104;
/** The reply to LOOKUP, and the head of each entry of READDIRPLUS. */
export const ENTRY_OUT_BYTES = 128;
/** Head of a directory entry: ino u64, off u64, namelen u32, type u32; the name follows, padded to 8. */
export const DIRENT_HEAD_BYTES = 24;

/** The protocol version whose structures this driver fills; a younger kernel speaks it, see INIT. */
export const PROTOCOL = { major: 7, minor: 45, oldestMinor: 31 } as const;

/** Bits of `flags` in INIT. */
export const INIT_FLAG = {
  asyncRead: 1 << 0,
  exportSupport: 1 << 4,
  doReaddirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  parallelDirops: 1 << 18,
  abortError: 1 << 21,
  maxPages: 1 << 22,
  cacheSymlinks: 1 << 23,
  noOpendirSupport: 1 << 24,
  explicitInvalData: 1 << 25,
  initExt: 1 << 30,
} as const;

/** Bits of `flags2` in INIT. */
export const INIT_FLAG2 = { hasResend: 1 << 7, allowIdmap: 1 << 8 } as const;

/** Bits of `open_flags` in the reply to OPEN. */
export const OPEN_FLAG = { keepCache: 1 << 1, noflush: 1 << 5 } as const;

/** What the kernel may ask for in one READ or READDIR: 256 pages. */
export const MAX_READ_BYTES = 1 << 20;
export const MAX_PAGES = 256;
/** The smallest `max_write` the kernel takes: nothing is ever written. */
export const MAX_WRITE_BYTES = 4096;
/**
 * Background requests (read-ahead) in flight. Opens wait for missing contents and reads of an opened file
 * do not, so these are answered at once; the kernel's default of 12 only delays them.
 */
export const MAX_BACKGROUND = 256;
/** Room for the longest request that a read-only mount can get, and above the kernel's minimum of 8,192. */
export const REQUEST_BUFFER_BYTES = 64 * 1024;

/** FUSE_NOTIFY_RESEND: asks the kernel to send again what an earlier reader took and never answered. */
export const NOTIFY_RESEND = 7;

/** The root directory's node id; a node id is always the tree's inode row + 1. */
export const ROOT_NODEID = 1;

/**
 * For how long the kernel may keep names and attributes: the tree never changes, and so "for ever", in
 * seconds (ten years; the kernel's arithmetic is in jiffies).
 */
export const VALID_SECONDS = 315_360_000;

/** The notification as bytes: a reply header with unique 0 and the code in place of the error. */
export function encodeResend(): Buffer {
  const bytes = Buffer.alloc(REPLY_HEADER_BYTES);
  bytes.writeUInt32LE(REPLY_HEADER_BYTES, 0);
  bytes.writeInt32LE(NOTIFY_RESEND, 4);
  return bytes;
}
