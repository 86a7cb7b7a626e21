import { ELF_LIMIT } from './limits.ts';

/** A file of which parts can be had. */
export interface ReadableFile {
  readonly sizeBytes: number;
  /** Exactly these bytes; undefined where they do not lie in the file or cannot be had. */
  read(offset: number, lengthBytes: number): Promise<Uint8Array | undefined>;
}

/** What the dynamic loader reads of a program or library before it runs. Strings are as they stand. */
export interface ElfNeeds {
  /** Class, byte order and machine: a loader passes over libraries of another kind. */
  readonly kind: string;
  /** e_machine, see elf.h. */
  readonly machine: number;
  readonly bits: 32 | 64;
  /** Path of the loader; undefined for libraries and static programs. */
  readonly interpreter: string | undefined;
  /** In their order. */
  readonly needed: readonly string[];
  readonly soname: string | undefined;
  /** Directories, as DT_RPATH has them, colons parted. */
  readonly rpath: readonly string[];
  readonly runpath: readonly string[];
}

const IDENT_BYTES = 16;
const HEADER_BYTES = { 32: 52, 64: 64 } as const;
const PROGRAM_HEADER_BYTES = { 32: 32, 64: 56 } as const;
const DYNAMIC_BYTES = { 32: 8, 64: 16 } as const;
const PT = { load: 1, dynamic: 2, interpreter: 3 } as const;
const DT = {
  null: 0,
  needed: 1,
  stringTable: 5,
  stringBytes: 10,
  soname: 14,
  rpath: 15,
  runpath: 29,
} as const;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly fileBytes: number;
}

/*
 * System V ABI, chapters 4 and 5 (64 bit: ELF-64 Object File Format), as offsets of 32 bit | 64 bit:
 *
 *   ELF header      0 7f "ELF" | 4 class | 5 byte order | 18 machine u16 | 28/32 offset of program headers
 *                   42/54 their size u16 | 44/56 their number u16
 *   program header  0 type u32 | 4/8 offset | 8/16 address | 16/32 bytes in the file
 *   dynamic entry   0 tag | 4/8 value
 */

/**
 * Reads what a loader needs of a file; undefined for what is no ELF or not whole. Never throws for what is in
 * the file: nothing that it says leads outside of it, and nothing is allocated by a number of its own beyond
 * ELF_LIMIT.
 */
export async function readElf(file: ReadableFile): Promise<ElfNeeds | undefined> {
  const ident = await file.read(0, IDENT_BYTES);
  if (ident === undefined || Buffer.compare(ident.subarray(0, 4), MAGIC) !== 0) return undefined;
  const bits = ident[4] === 1 ? 32 : ident[4] === 2 ? 64 : undefined;
  const little = ident[5] === 1 ? true : ident[5] === 2 ? false : undefined;
  if (bits === undefined || little === undefined) return undefined;
  const header = fields(await file.read(0, HEADER_BYTES[bits]), bits, little);
  if (header === undefined) return undefined;
  const segments = await readSegments(file, header, bits, little);
  if (segments === undefined) return undefined;

  const machine = header.u16(18);
  const named = segments.find(({ type }) => type === PT.interpreter);
  const interpreter = named === undefined ? undefined : await text(file, named.offset, named.fileBytes);
  const base = { kind: `${bits} ${ident[5]} ${machine}`, machine, bits, interpreter } as const;
  const dynamic = segments.find(({ type }) => type === PT.dynamic);
  const entries = dynamic === undefined ? [] : await readDynamic(file, dynamic, bits, little);
  if (entries === undefined) return undefined;
  const strings = await readStrings(file, segments, entries);
  if (strings === undefined) return undefined;
  const all = (tag: number) =>
    entries.flatMap(([one, value]) => (one === tag ? (strings.get(value) ?? []) : []));
  return {
    ...base,
    needed: all(DT.needed).slice(0, ELF_LIMIT.needed),
    soname: all(DT.soname)[0],
    rpath: all(DT.rpath).flatMap(directories),
    runpath: all(DT.runpath).flatMap(directories),
  };
}

const MAGIC = Buffer.from('\x7fELF', 'latin1');

async function readSegments(
  file: ReadableFile,
  header: Fields,
  bits: 32 | 64,
  little: boolean,
): Promise<Segment[] | undefined> {
  const wide = bits === 64;
  const at = header.word(wide ? 32 : 28);
  const each = header.u16(wide ? 54 : 42);
  const count = header.u16(wide ? 56 : 44);
  if (count > ELF_LIMIT.programHeaders || (count > 0 && each !== PROGRAM_HEADER_BYTES[bits]))
    return undefined;
  const table = fields(await file.read(at, each * count), bits, little);
  if (table === undefined) return undefined;
  return Array.from({ length: count }, (_, row) => {
    const from = row * each;
    return {
      type: table.u32(from),
      offset: table.word(from + (wide ? 8 : 4)),
      address: table.word(from + (wide ? 16 : 8)),
      fileBytes: table.word(from + (wide ? 32 : 16)),
    };
  });
}

type DynamicEntry = readonly [tag: number, value: number];

async function readDynamic(
  file: ReadableFile,
  { offset, fileBytes }: Segment,
  bits: 32 | 64,
  little: boolean,
): Promise<DynamicEntry[] | undefined> {
  const each = DYNAMIC_BYTES[bits];
  const length = Math.min(fileBytes, ELF_LIMIT.dynamicBytes);
  const table = fields(await file.read(offset, length - (length % each)), bits, little);
  if (table === undefined) return undefined;
  const entries: DynamicEntry[] = [];
  for (let at = 0; at < table.length; at += each) {
    const tag = table.word(at);
    if (tag === DT.null) break;
    entries.push([tag, table.word(at + each / 2)]);
  }
  return entries;
}

/** The strings that the entries name, by their place in the string table, in one read. */
async function readStrings(
  file: ReadableFile,
  segments: readonly Segment[],
  entries: readonly DynamicEntry[],
): Promise<Map<number, string> | undefined> {
  const strings = new Map<number, string>();
  const named: readonly number[] = [DT.needed, DT.soname, DT.rpath, DT.runpath];
  const places = entries.flatMap(([tag, value]) => (named.includes(tag) ? [value] : []));
  if (places.length === 0) return strings;
  const value = (tag: number) => entries.find(([one]) => one === tag)?.[1];
  const address = value(DT.stringTable);
  const tableBytes = value(DT.stringBytes);
  if (address === undefined || tableBytes === undefined) return undefined;
  const segment = segments.find(
    (one) => one.type === PT.load && address >= one.address && address < one.address + one.fileBytes,
  );
  if (segment === undefined) return undefined;
  const tableAt = segment.offset + (address - segment.address);
  const first = Math.min(...places);
  const end = Math.min(Math.max(...places) + ELF_LIMIT.stringBytes, tableBytes, file.sizeBytes - tableAt);
  if (end <= first || end - first > ELF_LIMIT.stringsBytes) return undefined;
  const bytes = await file.read(tableAt + first, end - first);
  if (bytes === undefined) return undefined;
  for (const place of places) {
    const string = upToNul(bytes.subarray(place - first, place - first + ELF_LIMIT.stringBytes));
    if (string !== undefined) strings.set(place, string);
  }
  return strings;
}

async function text(file: ReadableFile, offset: number, lengthBytes: number): Promise<string | undefined> {
  const bytes = await file.read(offset, Math.min(lengthBytes, ELF_LIMIT.stringBytes));
  return bytes === undefined ? undefined : upToNul(bytes);
}

/** Undefined where there is no end, or nothing before it. */
function upToNul(bytes: Uint8Array): string | undefined {
  const end = bytes.indexOf(0);
  return end <= 0 ? undefined : Buffer.from(bytes.subarray(0, end)).toString();
}

function directories(path: string): string[] {
  return path.split(':').filter((one) => one !== '');
}

/** Numbers of one class and byte order. A word is of 4 or 8 bytes; one above 2^53 lies in no file. */
interface Fields {
  readonly length: number;
  u16(at: number): number;
  u32(at: number): number;
  word(at: number): number;
}

function fields(bytes: Uint8Array | undefined, bits: 32 | 64, little: boolean): Fields | undefined {
  if (bytes === undefined) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    length: bytes.length,
    u16: (at) => view.getUint16(at, little),
    u32: (at) => view.getUint32(at, little),
    word: (at) => (bits === 32 ? view.getUint32(at, little) : Number(view.getBigUint64(at, little))),
  };
}
