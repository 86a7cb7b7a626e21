import type { Digest } from '../oci/digest.ts';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { checkLink, checkRootKind } from './builder.ts';
import { readContents, readContentUse, writeContents, writeContentUse } from './content-codec.ts';
import { TocError } from './error.ts';
import { KIND, KIND_COUNT } from './kind.ts';
import { byteRow, LayerToc, type Xattr } from './layer-toc.ts';
import { TOC_LIMIT } from './limits.ts';
import { readPaths, writePaths } from './path-codec.ts';
import { checkXattrs } from './xattr-sets.ts';

export const LAYER_MAGIC = Buffer.from('SLTL');
export const LAYER_VERSION = 1;
/** The least that a row takes up: one byte in each of nine columns. */
export const ROW_BYTES = 9;

/**
 * The canonical bytes of a layer's table: one table, one encoding. Numbers are LEB128 unless said otherwise,
 * `±` means zigzag; README.md draws the layout.
 */
export function encodeLayerToc(toc: LayerToc): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(256 + toc.rowCount * 48 + toc.contentCount * 36);
  const rows = toc.rowCount;
  writer
    .bytes(LAYER_MAGIC)
    .u8(LAYER_VERSION)
    .bytes(Buffer.from(toc.diffId.slice(7), 'hex'))
    .varint(rows);
  writer.bytes(toc.kind);
  writePaths(writer, toc.path);
  writer.varints(toc.mode).varints(toc.uid).varints(toc.gid);
  let previous = 0;
  for (const sec of toc.mtimeSec) {
    writer.signed(sec - previous);
    previous = sec;
  }
  writer.varints(toc.mtimeNsec);
  writeXattrSets(writer, toc.xattrSets);
  writer.varints(toc.xattr);
  for (let row = 0; row < rows; row += 1) {
    if (isDevice(toc.kind[row])) writer.varint(toc.devMajor[row] ?? 0).varint(toc.devMinor[row] ?? 0);
  }
  for (let row = 0; row < rows; row += 1) {
    if (isLink(toc.kind[row])) writer.varint(byteRow(toc.link, row).length);
  }
  writer.bytes(toc.link.bytes);
  writeContents(writer, toc.contents, toc.payloads);
  writeContentUse(writer, toc.kind, toc.content);
  return writer.finish();
}

/**
 * The table that `encodeLayerToc` wrote as these bytes. What is decoded obeys every rule that the builder
 * enforces, and is allocated within TOC_LIMIT.
 *
 * @throws {TocError}
 */
export function decodeLayerToc(bytes: Uint8Array): LayerToc {
  const reader = new ByteReader(bytes, (fault, message) => new TocError(fault, message));
  if (!LAYER_MAGIC.equals(reader.bytes(4)) || reader.u8() !== LAYER_VERSION) {
    throw new TocError('version', 'not a table of contents of a layer, version 1');
  }
  const diffId = `sha256:${Buffer.from(reader.bytes(32)).toString('hex')}` as Digest;
  const rows = reader.count(TOC_LIMIT.rows, ROW_BYTES);
  const kind = reader.bytes(rows).slice();
  for (const one of kind) if (one >= KIND_COUNT) throw new TocError('malformed', `kind ${one}`);
  const path = readPaths(reader, rows);
  const mode = reader.varints(new Uint16Array(rows), 0o7777);
  const uid = reader.varints(new Uint32Array(rows), 0xffffffff);
  const gid = reader.varints(new Uint32Array(rows), 0xffffffff);
  const mtimeSec = readTimes(reader, rows);
  const mtimeNsec = reader.varints(new Uint32Array(rows), 999_999_999);
  const xattrSets = readXattrSets(reader);
  const xattr = reader.varints(new Uint32Array(rows), xattrSets.length - 1);
  const { devMajor, devMinor } = readDevices(reader, kind);
  const link = readLinks(reader, kind, path.offsets);
  const { contents, payloads } = readContents(reader);
  const content = readContentUse(reader, kind, contents.sizeBytes.length);
  reader.end();
  return new LayerToc({
    ...{ diffId, kind, path, mode, uid, gid, mtimeSec, mtimeNsec, devMajor, devMinor },
    ...{ link, xattr, xattrSets, content, contents, payloads },
  });
}

export function isDevice(kind: number | undefined): boolean {
  return kind === KIND.chardev || kind === KIND.blockdev;
}

export function isLink(kind: number | undefined): boolean {
  return kind === KIND.symlink || kind === KIND.hardlink;
}

function readTimes(reader: ByteReader, rows: number): Float64Array {
  const times = new Float64Array(rows);
  let previous = 0;
  for (let row = 0; row < rows; row += 1) {
    previous += reader.signed(TOC_LIMIT.magnitude * 2);
    if (Math.abs(previous) > TOC_LIMIT.magnitude) throw new TocError('limit', `mtime: ${previous}`);
    times[row] = previous;
  }
  return times;
}

function readDevices(reader: ByteReader, kind: Uint8Array): { devMajor: Uint32Array; devMinor: Uint32Array } {
  const devMajor = new Uint32Array(kind.length);
  const devMinor = new Uint32Array(kind.length);
  for (let row = 0; row < kind.length; row += 1) {
    if (!isDevice(kind[row])) continue;
    devMajor[row] = reader.varint(0xffffffff);
    devMinor[row] = reader.varint(0xffffffff);
  }
  return { devMajor, devMinor };
}

function readLinks(reader: ByteReader, kind: Uint8Array, pathOffsets: Uint32Array): LayerToc['link'] {
  const offsets = new Uint32Array(kind.length + 1);
  let end = 0;
  for (let row = 0; row < kind.length; row += 1) {
    if (isLink(kind[row])) end += reader.varint(TOC_LIMIT.linkBytes);
    if (end > reader.remaining) throw new TocError('truncated', 'the targets of links');
    offsets[row + 1] = end;
  }
  const link = { offsets, bytes: reader.bytes(end).slice() };
  for (let row = 0; row < kind.length; row += 1) {
    checkRootKind(kind[row] ?? 0, (pathOffsets[row + 1] ?? 0) - (pathOffsets[row] ?? 0));
    if (isLink(kind[row])) checkLink(kind[row] ?? 0, byteRow(link, row));
  }
  return link;
}

function writeXattrSets(writer: ByteWriter, sets: readonly (readonly Xattr[])[]): void {
  writer.varint(sets.length - 1);
  for (const set of sets.slice(1)) {
    writer.varint(set.length);
    for (const [name, value] of set) writer.varint(name.length).bytes(name).varint(value.length).bytes(value);
  }
}

/** The sets as they stand, row 0 the empty one. @throws {TocError} */
export function readXattrSets(reader: ByteReader): readonly (readonly Xattr[])[] {
  const sets: (readonly Xattr[])[] = [[]];
  const count = reader.count(TOC_LIMIT.xattrSets - 1, 4);
  for (let i = 0; i < count; i += 1) {
    const set: Xattr[] = [];
    const length = reader.count(TOC_LIMIT.xattrsOfOneRow, 3);
    if (length === 0) throw new TocError('malformed', 'an empty set of extended attributes, spelt out');
    for (let k = 0; k < length; k += 1) {
      const name = reader.bytes(reader.varint(TOC_LIMIT.xattrNameBytes)).slice();
      set.push([name, reader.bytes(reader.varint(TOC_LIMIT.xattrValueBytes)).slice()]);
    }
    checkXattrs(set);
    sets.push(set);
  }
  return sets;
}
