import type { RawText, SparseFile, TarEntry, TarEntryType } from './tar-entry.ts';

export * from './tar-entry.ts';

/**
 * Tar archives for tests, byte for byte under control: raw names, extended attributes, devices, sparse files,
 * numbers out of a ustar header's range. (tar-stream, which the product reads with, writes only UTF-8 names.)
 *
 *   offset  0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 checksum 8
 *   156 type 1 | 157 linkname 100 | 257 magic 8 | 265 uname 32 | 297 gname 32 | 329 major 8 | 337 minor 8
 *   345 prefix 155 (old GNU sparse: 386 four pairs of offset and size, 482 extended, 483 real size)
 */

const BLOCK = 512;
const TYPE_FLAG = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
} as const satisfies Record<TarEntryType, string>;
/** An old GNU header has room for this many segments; more are not needed by any test. */
const GNU_SPARSE_SEGMENTS = 4;

function bytes(text: RawText): Buffer {
  return typeof text === 'string' ? Buffer.from(text, 'utf8') : Buffer.from(text);
}

function padding(sizeBytes: number): Buffer {
  return Buffer.alloc((BLOCK - (sizeBytes % BLOCK)) % BLOCK);
}

/** Octal where it fits, GNU's base 256 (two's complement) where it does not. */
function writeNumber(header: Buffer, offset: number, width: number, value: number): void {
  if (value >= 0 && value < 8 ** (width - 1)) {
    header.write(value.toString(8).padStart(width - 1, '0'), offset, 'latin1');
    return;
  }
  const wide = Buffer.alloc(16, value < 0 ? 0xff : 0);
  wide.writeBigInt64BE(BigInt(value), 8);
  wide.copy(header, offset, 16 - width);
  header[offset] = value < 0 ? 0xff : 0x80;
}

type HeaderFields = {
  readonly typeFlag: string;
  readonly name: Buffer;
  readonly sizeBytes: number;
  readonly gnu: boolean;
  readonly entry?: TarEntry;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtimeSeconds?: number;
  readonly target?: Buffer;
  readonly sparse?: SparseFile;
};

function header(fields: HeaderFields): Buffer {
  const block = Buffer.alloc(BLOCK);
  fields.name.copy(block, 0, 0, 100);
  writeNumber(block, 100, 8, fields.entry?.mode ?? 0o644);
  writeNumber(block, 108, 8, fields.uid ?? 0);
  writeNumber(block, 116, 8, fields.gid ?? 0);
  writeNumber(block, 124, 12, fields.sizeBytes);
  writeNumber(block, 136, 12, fields.mtimeSeconds ?? 0);
  block.write(fields.typeFlag, 156, 'latin1');
  fields.target?.copy(block, 157, 0, 100);
  block.write(fields.gnu ? 'ustar  \0' : 'ustar\x0000', 257, 'latin1');
  block.write(fields.entry?.uname ?? '', 265, 31, 'utf8');
  block.write(fields.entry?.gname ?? '', 297, 31, 'utf8');
  if (fields.typeFlag === '3' || fields.typeFlag === '4') {
    writeNumber(block, 329, 8, fields.entry?.major ?? 0);
    writeNumber(block, 337, 8, fields.entry?.minor ?? 0);
  }
  if (fields.sparse !== undefined) {
    fields.sparse.segments.forEach(({ offset, data }, index) => {
      writeNumber(block, 386 + index * 24, 12, offset);
      writeNumber(block, 398 + index * 24, 12, data.byteLength);
    });
    writeNumber(block, 483, 12, fields.sparse.sizeBytes);
  }
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** `<length> <key>=<value>\n`, the length counting itself (POSIX pax, extended header). */
function paxRecord(key: string, value: RawText): Buffer {
  const body = Buffer.concat([Buffer.from(` ${key}=`), bytes(value), Buffer.from('\n')]);
  let length = body.byteLength + 1;
  while (String(length).length + body.byteLength !== length) length = String(length).length + body.byteLength;
  return Buffer.concat([Buffer.from(String(length)), body]);
}

function extension(typeFlag: string, name: string, data: Buffer, gnu: boolean): Buffer[] {
  return [
    header({ typeFlag, name: Buffer.from(name), sizeBytes: data.byteLength, gnu }),
    data,
    padding(data.byteLength),
  ];
}

function gnuEntry(entry: TarEntry, name: Buffer, target: Buffer | undefined): Buffer[] {
  const out: Buffer[] = [];
  const nul = Buffer.alloc(1);
  if (target !== undefined && target.byteLength > 100) {
    out.push(...extension('K', '././@LongLink', Buffer.concat([target, nul]), true));
  }
  if (name.byteLength > 100) out.push(...extension('L', '././@LongLink', Buffer.concat([name, nul]), true));
  const { sparse } = entry;
  if (sparse !== undefined && sparse.segments.length > GNU_SPARSE_SEGMENTS) {
    throw new RangeError('too many segments for an old GNU header');
  }
  const data =
    sparse === undefined ? bytes(entry.content ?? '') : Buffer.concat(sparse.segments.map((s) => s.data));
  out.push(
    header({
      typeFlag: sparse === undefined ? TYPE_FLAG[entry.type] : 'S',
      name,
      sizeBytes: data.byteLength,
      gnu: true,
      entry,
      uid: entry.uid ?? 0,
      gid: entry.gid ?? 0,
      mtimeSeconds: Math.floor(entry.mtimeSeconds ?? 0),
      ...(target === undefined ? {} : { target }),
      ...(sparse === undefined ? {} : { sparse }),
    }),
    data,
    padding(data.byteLength),
  );
  return out;
}

function paxEntry(entry: TarEntry, entryName: Buffer, target: Buffer | undefined): Buffer[] {
  const records: Buffer[] = [];
  let name = entryName;
  let data = bytes(entry.content ?? '');
  const { sparse } = entry;
  if (sparse !== undefined) {
    const map = [sparse.segments.length, ...sparse.segments.flatMap((s) => [s.offset, s.data.byteLength])];
    const text = Buffer.from(map.map((n) => `${n}\n`).join(''));
    data = Buffer.concat([text, padding(text.byteLength), ...sparse.segments.map((s) => s.data)]);
    records.push(paxRecord('GNU.sparse.major', '1'), paxRecord('GNU.sparse.minor', '0'));
    records.push(paxRecord('GNU.sparse.name', name), paxRecord('GNU.sparse.realsize', `${sparse.sizeBytes}`));
    name = Buffer.from('GNUSparseFile.0');
  }
  if (name.byteLength > 100) records.push(paxRecord('path', name));
  if (target !== undefined && target.byteLength > 100) records.push(paxRecord('linkpath', target));
  const mtime = entry.mtimeSeconds ?? 0;
  const plainTime = Number.isInteger(mtime) && mtime >= 0 && mtime < 8 ** 11;
  if (!plainTime) records.push(paxRecord('mtime', `${mtime}`));
  const owner = { uid: entry.uid ?? 0, gid: entry.gid ?? 0 };
  for (const key of ['uid', 'gid'] as const) {
    if (owner[key] < 8 ** 7) continue;
    records.push(paxRecord(key, `${owner[key]}`));
    owner[key] = 0;
  }
  for (const [key, value] of Object.entries(entry.xattrs ?? {})) {
    records.push(paxRecord(`SCHILY.xattr.${key}`, value));
  }
  for (const [key, value] of Object.entries(entry.pax ?? {})) records.push(paxRecord(key, value));
  const out = records.length === 0 ? [] : extension('x', 'PaxHeaders.0/entry', Buffer.concat(records), false);
  out.push(
    header({
      typeFlag: TYPE_FLAG[entry.type],
      name,
      sizeBytes: data.byteLength,
      gnu: false,
      entry,
      ...owner,
      mtimeSeconds: plainTime ? mtime : 0,
      ...(target === undefined ? {} : { target }),
    }),
    data,
    padding(data.byteLength),
  );
  return out;
}

/**
 * The archive that holds `entries` in their order, ended by two zero blocks. The same entries give the same
 * bytes. Directories get the customary slash at the end of the name.
 *
 * @example
 * tarBytes([directory('etc'), file('etc/motd', 'hello\n', { uid: 70000, xattrs: { 'user.a': 'b' } })])
 */
export function tarBytes(entries: Iterable<TarEntry>): Buffer {
  const out: Buffer[] = [];
  for (const entry of entries) {
    const slash = entry.type === 'directory' && bytes(entry.name).at(-1) !== 0x2f ? '/' : '';
    const name = Buffer.concat([bytes(entry.name), Buffer.from(slash)]);
    const target = entry.target === undefined ? undefined : bytes(entry.target);
    const gnu = entry.format === 'gnu' || entry.sparse?.form === 'gnu';
    out.push(...(gnu ? gnuEntry(entry, name, target) : paxEntry(entry, name, target)));
  }
  out.push(Buffer.alloc(2 * BLOCK));
  return Buffer.concat(out);
}
