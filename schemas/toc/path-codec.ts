import type { ByteReader } from './byte-reader.ts';
import type { ByteWriter } from './byte-writer.ts';
import { TocError } from './error.ts';
import type { ByteColumn } from './layer-toc.ts';
import { TOC_LIMIT } from './limits.ts';
import { checkPath } from './path.ts';

const SLASH = 0x2f;

/**
 * Paths, front-coded: the length that each shares with the one before it, the lengths of the rests, the
 * rests. Shared lengths are the longest possible, so that there is one encoding only.
 */
export function writePaths(writer: ByteWriter, paths: ByteColumn): void {
  const { offsets, bytes } = paths;
  const rows = offsets.length - 1;
  const shared = new Uint16Array(rows);
  let previous = 0;
  for (let row = 0; row < rows; row += 1) {
    const start = offsets[row] ?? 0;
    const most = Math.min(start - previous, (offsets[row + 1] ?? 0) - start);
    let length = 0;
    while (length < most && bytes[previous + length] === bytes[start + length]) length += 1;
    shared[row] = length;
    previous = start;
  }
  writer.varints(shared);
  for (let row = 0; row < rows; row += 1) {
    writer.varint((offsets[row + 1] ?? 0) - (offsets[row] ?? 0) - (shared[row] ?? 0));
  }
  for (let row = 0; row < rows; row += 1) {
    writer.bytes(bytes.subarray((offsets[row] ?? 0) + (shared[row] ?? 0), offsets[row + 1]));
  }
}

/** @throws {TocError} when a path is not fit, or not front-coded to the full. */
export function readPaths(reader: ByteReader, rows: number): ByteColumn {
  const shared = reader.varints(new Uint16Array(rows), TOC_LIMIT.pathBytes);
  const offsets = new Uint32Array(rows + 1);
  let total = 0;
  let restBytes = 0;
  for (let row = 0; row < rows; row += 1) {
    const rest = reader.varint(TOC_LIMIT.pathBytes);
    restBytes += rest;
    total += rest + (shared[row] ?? 0);
    if (total > TOC_LIMIT.allPathsBytes) throw new TocError('limit', 'the length of all paths');
    offsets[row + 1] = total;
  }
  const rests = reader.bytes(restBytes);
  const bytes = new Uint8Array(total);
  let from = 0;
  let previous = 0;
  for (let row = 0; row < rows; row += 1) {
    const start = offsets[row] ?? 0;
    const end = offsets[row + 1] ?? 0;
    const common = shared[row] ?? 0;
    if (common > start - previous) throw new TocError('malformed', 'a path shares more than there is');
    for (let i = 0; i < common; i += 1) bytes[start + i] = bytes[previous + i] ?? 0;
    for (let at = start + common; at < end; at += 1) bytes[at] = rests[from++] ?? 0;
    if (
      common < start - previous &&
      common < end - start &&
      bytes[previous + common] === bytes[start + common]
    ) {
      throw new TocError('malformed', 'a path shares less than it could');
    }
    checkPath(bytes, start, end, lastComponent(bytes, start, start + common));
    previous = start;
  }
  return { offsets, bytes };
}

/** The start of the component that `at` lies in; what is before it stood in the path checked before. */
function lastComponent(bytes: Uint8Array, start: number, at: number): number {
  let component = at;
  while (component > start && bytes[component - 1] !== SLASH) component -= 1;
  return component;
}
