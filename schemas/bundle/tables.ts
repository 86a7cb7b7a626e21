import type { ByteReader } from '../toc/byte-reader.ts';
import type { ByteWriter } from '../toc/byte-writer.ts';
import { BundleError } from './error.ts';
import type { BundleFrame } from './frame.ts';
import { type BundleFiles, type BundlePayloads, PAYLOAD_ENCODING } from './header.ts';
import { BUNDLE_LIMIT } from './limits.ts';

/** The least that a file takes up: one byte in each of three columns. */
const FILE_BYTES = 3;

/*
 * Payloads are numbered in the order of their first use by a file. So a file's payload is written as how far
 * it lies behind the next new one: mostly 0.
 */

export function writeFiles(writer: ByteWriter, files: BundleFiles): void {
  writer.varint(files.content.length);
  let previous = -1;
  for (const content of files.content) {
    writer.signed(content - previous - 1);
    previous = content;
  }
  let next = 0;
  for (const payload of files.payload) {
    if (payload > next) throw new BundleError('malformed', 'payloads that are not numbered by first use');
    writer.varint(next - payload);
    if (payload === next) next += 1;
  }
  writer.varints(files.innerOffset);
}

/** @throws {BundleError} */
export function readFiles(reader: ByteReader, payloadCount: number): BundleFiles {
  const count = reader.count(BUNDLE_LIMIT.files, FILE_BYTES);
  const content = new Uint32Array(count);
  let previous = -1;
  for (let file = 0; file < count; file += 1) {
    previous += reader.signed(0xffffffff) + 1;
    if (previous < 0 || previous >= 0xffffffff) throw new BundleError('malformed', `content ${previous}`);
    content[file] = previous;
  }
  const payload = new Uint32Array(count);
  let next = 0;
  for (let file = 0; file < count; file += 1) {
    const one = next - reader.varint(next);
    if (one >= payloadCount) throw new BundleError('malformed', `no payload ${one}`);
    payload[file] = one;
    if (one === next) next += 1;
  }
  if (next !== payloadCount) throw new BundleError('malformed', 'a payload that carries no file');
  return { content, payload, innerOffset: reader.varints(new Float64Array(count), BUNDLE_LIMIT.magnitude) };
}

export function writePayloads(writer: ByteWriter, payloads: BundlePayloads): void {
  writer.bytes(payloads.encoding).varints(payloads.length).bytes(payloads.dictionary);
}

/** @throws {BundleError} unless the table is as long as the frame says, in rows and in bytes. */
export function readPayloads(reader: ByteReader, frame: BundleFrame): BundlePayloads {
  const encoding = reader.bytes(frame.payloadCount).slice();
  let patches = 0;
  for (const one of encoding) {
    if (one > PAYLOAD_ENCODING.patch) throw new BundleError('version', `encoding ${one} of a payload`);
    if (one === PAYLOAD_ENCODING.patch) patches += 1;
  }
  const length = reader.varints(new Float64Array(frame.payloadCount), BUNDLE_LIMIT.magnitude);
  let total = 0;
  for (const one of length) {
    if (one === 0) throw new BundleError('malformed', 'a payload of no bytes');
    total += one;
  }
  if (total !== frame.payloadBytes) throw new BundleError('malformed', 'payloads of another length in all');
  return { encoding, length, dictionary: reader.bytes(patches * 32).slice() };
}
