import { LayerError } from './layer-error.ts';
import type { PaxRecords } from './pax.ts';
import { sparseFileOf } from './sparse-file.ts';
import type { RawXattr, TarEntry, TarEntryType } from './tar-entry.ts';
import { parsePaxInteger, parsePaxTime, parseTarNumber, untilNul } from './tar-number.ts';

/**
 * Header blocks of tar archives:
 *
 *   offset  0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8
 *   156 type 1 | 157 linkname 100 | 257 magic 8 | 265 uname 32 | 297 gname 32 | 329 major 8 | 337 minor 8
 *   345 ustar: prefix 155; GNU: atime 12, ctime 12; star: prefix 131, atime 12, ctime 12, trailer 4 at 508
 */
export const BLOCK_BYTES = 512;

const TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'chardev',
  '4': 'blockdev',
  '5': 'directory',
  '6': 'fifo',
};

/** What stands before an entry and overrides its header. */
export interface Overrides {
  readonly pax: PaxRecords | undefined;
  readonly longName: Buffer | undefined;
  readonly longLink: Buffer | undefined;
}

export function isZeroBlock(block: Buffer): boolean {
  for (const byte of block) if (byte !== 0) return false;
  return true;
}

/** The sum of a header's bytes, its checksum field taken as spaces; some writers summed signed bytes. */
export function checkChecksum(block: Buffer): void {
  let unsigned = 8 * 0x20;
  let signed = unsigned;
  for (let i = 0; i < BLOCK_BYTES; i += 1) {
    if (i >= 148 && i < 156) continue;
    const byte = block[i] ?? 0;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stored = parseTarNumber(block.subarray(148, 156));
  if (stored !== unsigned && stored !== signed) {
    throw new LayerError('tar', 'a tar header with a wrong checksum');
  }
}

export function typeFlagOf(block: Buffer): string {
  return String.fromCharCode(block[156] ?? 0);
}

export function headerSize(block: Buffer): number {
  const size = parseTarNumber(block.subarray(124, 136));
  if (size < 0) throw new LayerError('tar', 'an entry of negative size');
  return size;
}

/** Name of the header alone, with the prefix that its format has. Go, archive/tar Reader.readHeader. */
function headerName(block: Buffer): Buffer {
  const name = untilNul(block.subarray(0, 100));
  const magic = block.toString('latin1', 257, 265);
  let prefix: Buffer = Buffer.alloc(0);
  if (magic.startsWith('ustar\0')) {
    const star = block.toString('latin1', 508, 512) === 'tar\0';
    prefix = untilNul(block.subarray(345, star ? 476 : 500));
  } else if (magic === 'ustar  \0') {
    prefix = misplacedPrefix(block);
  }
  return prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]);
}

/** Go before 1.8 wrote a prefix into GNU headers, where times belong; its reader still takes that as a prefix. */
function misplacedPrefix(block: Buffer): Buffer {
  try {
    for (const at of [345, 357]) if (block[at] !== 0) parseTarNumber(block.subarray(at, at + 12));
  } catch {
    const prefix = untilNul(block.subarray(345, 500));
    if (prefix.every((byte) => byte < 0x80)) return prefix;
  }
  return Buffer.alloc(0);
}

const XATTR_PREFIX = 'SCHILY.xattr.';

function xattrsOf(pax: PaxRecords): RawXattr[] {
  const xattrs: RawXattr[] = [];
  for (const [key, value] of pax) {
    if (!key.startsWith(XATTR_PREFIX)) continue;
    xattrs.push([Buffer.from(key.slice(XATTR_PREFIX.length), 'latin1'), Buffer.from(value)]);
  }
  return xattrs;
}

/** An entry's type. @throws {LayerError} `unsupported` for those that containerd refuses to unpack. */
function typeOf(flag: string, name: Buffer): TarEntryType {
  const type = TYPES[flag];
  if (type === undefined) {
    throw new LayerError('unsupported', `a tar entry of type ${JSON.stringify(flag)}`);
  }
  return flag === '\0' && name.at(-1) === 0x2f ? 'directory' : type;
}

/** The entry of a header block and of what stood before it. @throws {LayerError} */
export function entryOf(block: Buffer, overrides: Overrides): TarEntry {
  const { pax } = overrides;
  // An empty value deletes a record: the header's own field counts then (Go, archive/tar mergePAX).
  const record = (key: string): string | undefined => {
    const value = pax?.get(key);
    return value === undefined || value.length === 0 ? undefined : value.toString('latin1');
  };
  const number = (key: string, at: number, width: number): number => {
    const value = record(key);
    return value === undefined ? parseTarNumber(block.subarray(at, at + width)) : parsePaxInteger(value);
  };
  const text = (key: string, long: Buffer | undefined, own: Buffer): Buffer => {
    if (long !== undefined && long.length > 0) return long;
    const value = record(key);
    return value === undefined ? Buffer.from(own) : Buffer.from(value, 'latin1');
  };
  const flag = typeFlagOf(block);
  const sparse = TYPES[flag] === 'file' ? sparseFileOf(pax) : undefined;
  const sparseName = sparse !== undefined ? record('GNU.sparse.name') : undefined;
  const name =
    sparseName === undefined
      ? text('path', overrides.longName, headerName(block))
      : Buffer.from(sparseName, 'latin1');
  const type = typeOf(flag, name);
  const mtime = record('mtime');
  const { sec, nsec } =
    mtime === undefined ? { sec: parseTarNumber(block.subarray(136, 148)), nsec: 0 } : parsePaxTime(mtime);
  const sizeBytes = type === 'file' ? number('size', 124, 12) : 0;
  if (sizeBytes < 0) throw new LayerError('tar', 'an entry of negative size');
  const device = type === 'chardev' || type === 'blockdev';
  return {
    type,
    name,
    linkName: text('linkpath', overrides.longLink, untilNul(block.subarray(157, 257))),
    mode: parseTarNumber(block.subarray(100, 108)) & 0o7777,
    uid: number('uid', 108, 8),
    gid: number('gid', 116, 8),
    sizeBytes,
    mtimeSec: sec,
    mtimeNsec: nsec,
    devMajor: device ? parseTarNumber(block.subarray(329, 337)) : 0,
    devMinor: device ? parseTarNumber(block.subarray(337, 345)) : 0,
    xattrs: pax === undefined ? [] : xattrsOf(pax),
    sparse,
  };
}
