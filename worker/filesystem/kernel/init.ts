import {
  INIT_FLAG,
  INIT_FLAG2,
  MAX_BACKGROUND,
  MAX_PAGES,
  MAX_WRITE_BYTES,
  PROTOCOL,
  REPLY_HEADER_BYTES,
  REQUEST,
} from './protocol.ts';

const WANTED = Object.values(INIT_FLAG).reduce((flags, flag) => flags | flag, 0);
const WANTED2 = Object.values(INIT_FLAG2).reduce((flags, flag) => flags | flag, 0);
const MAX_READAHEAD_BYTES = 1 << 20;
const INIT_OUT_BYTES = 64;

/** What was agreed with the kernel. */
export interface Negotiated {
  readonly minor: number;
  readonly flags: number;
  readonly flags2: number;
}

/**
 * Reads fuse_init_in (major 0, minor 4, max_readahead 8, flags 12, flags2 16) and writes fuse_init_out
 * behind the reply's header: major 0, minor 4, max_readahead 8, flags 12, max_background u16 16,
 * congestion_threshold u16 18, max_write 20, time_gran 24, max_pages u16 28, flags2 32; 64 bytes in all.
 *
 * @returns undefined when the kernel's protocol is older than 7.31 (Linux 5.4).
 */
export function negotiate(request: Buffer, reply: Buffer): Negotiated | undefined {
  const at = REQUEST.body;
  const major = request.readUInt32LE(at);
  const kernelMinor = request.readUInt32LE(at + 4);
  if (major !== PROTOCOL.major || kernelMinor < PROTOCOL.oldestMinor) return undefined;
  const minor = Math.min(kernelMinor, PROTOCOL.minor);
  const flags = request.readUInt32LE(at + 12) & WANTED;
  const flags2 = (flags & INIT_FLAG.initExt) === 0 ? 0 : request.readUInt32LE(at + 16) & WANTED2;
  const out = REPLY_HEADER_BYTES;
  reply.fill(0, out, out + INIT_OUT_BYTES);
  reply.writeUInt32LE(PROTOCOL.major, out);
  reply.writeUInt32LE(minor, out + 4);
  reply.writeUInt32LE(Math.min(request.readUInt32LE(at + 8), MAX_READAHEAD_BYTES), out + 8);
  reply.writeUInt32LE(flags >>> 0, out + 12);
  reply.writeUInt16LE(MAX_BACKGROUND, out + 16);
  reply.writeUInt16LE((MAX_BACKGROUND * 3) / 4, out + 18);
  reply.writeUInt32LE(MAX_WRITE_BYTES, out + 20);
  reply.writeUInt32LE(1, out + 24);
  reply.writeUInt16LE(MAX_PAGES, out + 28);
  reply.writeUInt32LE(flags2 >>> 0, out + 32);
  return { minor, flags, flags2 };
}

/** Bytes of the reply's body that `negotiate` fills. */
export const INIT_REPLY_BYTES = INIT_OUT_BYTES;
