import type { ByteReader } from './byte-reader.ts';
import type { ByteWriter } from './byte-writer.ts';
import { TocError } from './error.ts';
import { KIND, NONE } from './kind.ts';
import type { ContentColumns, PayloadColumns } from './layer-toc.ts';
import { TOC_LIMIT } from './limits.ts';

/** The least that a content and a payload take up. */
const CONTENT_BYTES = 32 + 3;
const PAYLOAD_BYTES = 2;

/*
 * Rows refer to contents, and contents to payloads, in the order of first use. So a reference is nearly
 * always "the next new one", and is written as how far it lies behind that: 0 the next new one, 1 the
 * newest, 2 the one before …; rows shift it by one, 0 being "none".
 */

export function writeContents(writer: ByteWriter, contents: ContentColumns, payloads: PayloadColumns): void {
  writer.varint(contents.sizeBytes.length).varint(payloads.offset.length);
  writer.varints(contents.sizeBytes);
  let next = 0;
  for (const payload of contents.payload) {
    writer.varint(next - payload);
    if (payload === next) next += 1;
  }
  writer.varints(contents.innerOffset);
  let end = 0;
  for (const [row, offset] of payloads.offset.entries()) {
    writer.signed(offset - end);
    end = offset + (payloads.length[row] ?? 0);
  }
  writer.varints(payloads.length);
  writer.bytes(contents.digest);
}

/**
 * @param views whether the digests may be a view of the bytes that are read, instead of a copy
 * @throws {TocError}
 */
export function readContents(
  reader: ByteReader,
  views = false,
): { contents: ContentColumns; payloads: PayloadColumns } {
  const count = reader.count(TOC_LIMIT.rows, CONTENT_BYTES);
  const payloadCount = reader.count(count, PAYLOAD_BYTES);
  const sizeBytes = reader.varints(new Float64Array(count), TOC_LIMIT.magnitude);
  for (const size of sizeBytes) if (size === 0) throw new TocError('malformed', 'a content of no bytes');
  const payload = new Uint32Array(count);
  let next = 0;
  for (let row = 0; row < count; row += 1) {
    const one = next - reader.varint(next);
    if (one >= payloadCount) throw new TocError('malformed', `no payload ${one}`);
    payload[row] = one;
    if (one === next) next += 1;
  }
  if (next !== payloadCount) throw new TocError('malformed', 'a payload that no content uses');
  const innerOffset = reader.varints(new Float64Array(count), TOC_LIMIT.magnitude);
  const payloads = readPayloads(reader, payloadCount);
  const digests = reader.bytes(count * 32);
  const digest = views ? digests : digests.slice();
  return { contents: { digest, sizeBytes, payload, innerOffset }, payloads };
}

/** Of what `readContents` reads only the digests; a view. @throws {TocError} */
export function readDigests(reader: ByteReader): Uint8Array {
  const count = reader.count(TOC_LIMIT.rows, CONTENT_BYTES);
  const payloadCount = reader.count(count, PAYLOAD_BYTES);
  reader.skipVarints(count * 3 + payloadCount * 2);
  return reader.bytes(count * 32);
}

function readPayloads(reader: ByteReader, count: number): PayloadColumns {
  const offset = new Float64Array(count);
  for (let row = 0; row < count; row += 1) offset[row] = reader.signed(TOC_LIMIT.magnitude * 2);
  const length = reader.varints(new Float64Array(count), TOC_LIMIT.magnitude);
  let end = 0;
  for (let row = 0; row < count; row += 1) {
    const from = end + (offset[row] ?? 0);
    const size = length[row] ?? 0;
    if (size === 0) throw new TocError('malformed', 'a payload of no bytes');
    if (from < 0 || from > TOC_LIMIT.magnitude) throw new TocError('limit', `offset of a payload: ${from}`);
    offset[row] = from;
    end = from + size;
  }
  return { offset, length };
}

export function writeContentUse(writer: ByteWriter, kind: Uint8Array, content: Uint32Array): void {
  let next = 0;
  for (let row = 0; row < kind.length; row += 1) {
    if (kind[row] !== KIND.file) continue;
    const one = content[row] ?? NONE;
    writer.varint(one === NONE ? 0 : next - one + 1);
    if (one === next) next += 1;
  }
}

/** @throws {TocError} */
export function readContentUse(reader: ByteReader, kind: Uint8Array, count: number): Uint32Array {
  const content = new Uint32Array(kind.length).fill(NONE);
  let next = 0;
  for (let row = 0; row < kind.length; row += 1) {
    if (kind[row] !== KIND.file) continue;
    const use = reader.varint(next + 1);
    if (use === 0) continue;
    const one = next - use + 1;
    if (one >= count) throw new TocError('malformed', `no content ${one}`);
    content[row] = one;
    if (one === next) next += 1;
  }
  if (next !== count) throw new TocError('malformed', 'a content that no row uses');
  return content;
}
