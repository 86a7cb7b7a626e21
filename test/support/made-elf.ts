/** An ELF file as a test wants it; all but `needed` left out is left out of the file. */
export interface ElfFields {
  readonly bits?: 32 | 64;
  readonly bigEndian?: boolean;
  readonly machine?: number;
  readonly interpreter?: string;
  readonly needed?: readonly string[];
  readonly soname?: string;
  readonly rpath?: string;
  readonly runpath?: string;
  /** Bytes between headers and dynamic section: for files too large to be held. */
  readonly fillBytes?: number;
  /** The string table behind the dynamic section instead of before it. */
  readonly stringsLast?: boolean;
}

const ADDRESS = 0x10000;
const TAG = { needed: 1, stringTable: 5, stringBytes: 10, soname: 14, rpath: 15, runpath: 29 } as const;

/**
 * As a linker lays it out: header | program headers (load, dynamic, interpreter) | interpreter | strings |
 * filling | dynamic section. One segment maps all of it at ADDRESS.
 */
export function madeElf(fields: ElfFields = {}): Buffer {
  const { bits = 64, bigEndian = false, machine = 62, interpreter, fillBytes = 0 } = fields;
  const wide = bits === 64;
  const word = (value: number): Buffer => {
    const out = Buffer.alloc(wide ? 8 : 4);
    if (wide) bigEndian ? out.writeBigUInt64BE(BigInt(value)) : out.writeBigUInt64LE(BigInt(value));
    else bigEndian ? out.writeUInt32BE(value) : out.writeUInt32LE(value);
    return out;
  };
  const number = (value: number, bytes: 2 | 4): Buffer => {
    const out = Buffer.alloc(bytes);
    bigEndian ? out.writeUIntBE(value, 0, bytes) : out.writeUIntLE(value, 0, bytes);
    return out;
  };

  let strings = Buffer.from('\0');
  const string = (text: string): number => {
    const at = strings.length;
    strings = Buffer.concat([strings, Buffer.from(`${text}\0`)]);
    return at;
  };
  const entries: [tag: number, value: number][] = (fields.needed ?? []).map((name) => [
    TAG.needed,
    string(name),
  ]);
  for (const name of ['soname', 'rpath', 'runpath'] as const) {
    const text = fields[name];
    if (text !== undefined) entries.push([TAG[name], string(text)]);
  }

  const headerBytes = wide ? 64 : 52;
  const each = wide ? 56 : 32;
  const count = interpreter === undefined ? 2 : 3;
  const interpreterAt = headerBytes + each * count;
  const interpreterBytes = Buffer.from(interpreter === undefined ? '' : `${interpreter}\0`);
  const bodyAt = interpreterAt + interpreterBytes.length;
  const dynamicBytes = (entries.length + 3) * (wide ? 16 : 8);
  const stringsAt = fields.stringsLast === true ? bodyAt + fillBytes + dynamicBytes : bodyAt;
  const dynamicAt = fields.stringsLast === true ? bodyAt + fillBytes : bodyAt + strings.length + fillBytes;
  entries.push([TAG.stringTable, ADDRESS + stringsAt], [TAG.stringBytes, strings.length], [0, 0]);
  const dynamic = Buffer.concat(entries.flatMap(([tag, value]) => [word(tag), word(value)]));
  const totalBytes = bodyAt + strings.length + fillBytes + dynamicBytes;

  const segment = (type: number, offset: number, sizeBytes: number): Buffer => {
    const rest = [
      word(offset),
      word(ADDRESS + offset),
      word(ADDRESS + offset),
      word(sizeBytes),
      word(sizeBytes),
    ];
    return wide
      ? Buffer.concat([number(type, 4), number(5, 4), ...rest, word(4096)])
      : Buffer.concat([number(type, 4), ...rest, number(5, 4), word(4096)]);
  };
  const ident = Buffer.from([
    0x7f,
    0x45,
    0x4c,
    0x46,
    wide ? 2 : 1,
    bigEndian ? 2 : 1,
    1,
    0,
    ...Array(8).fill(0),
  ]);
  const header = Buffer.concat([
    ...[
      ident,
      number(3, 2),
      number(machine, 2),
      number(1, 4),
      word(0),
      word(headerBytes),
      word(0),
      number(0, 4),
    ],
    ...[number(headerBytes, 2), number(each, 2), number(count, 2), number(0, 2), number(0, 2), number(0, 2)],
  ]);
  const fill = Buffer.alloc(fillBytes);
  const body = fields.stringsLast === true ? [fill, dynamic, strings] : [strings, fill, dynamic];
  return Buffer.concat([
    header,
    segment(1, 0, totalBytes),
    segment(2, dynamicAt, dynamicBytes),
    ...(interpreter === undefined ? [] : [segment(3, interpreterAt, interpreterBytes.length)]),
    interpreterBytes,
    ...body,
  ]);
}
