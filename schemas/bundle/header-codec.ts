import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { type Digest, isDigest } from '../oci/digest.ts';
import { ByteReader } from '../toc/byte-reader.ts';
import { ByteWriter } from '../toc/byte-writer.ts';
import { BundleError } from './error.ts';
import { type BundleFrame, encodeFrame } from './frame.ts';
import { type BundleBlob, type BundleHeader, type BundleToc, parseJsonPart } from './header.ts';
import { BUNDLE_LIMIT } from './limits.ts';
import { readFiles, readPayloads, writeFiles, writePayloads } from './tables.ts';

/** Headers are made while a worker waits, and what is large in them is packed already. */
const LEVEL = 3;
/** The least that a blob and a table of contents take up. */
const BLOB_BYTES = 3;
const TOC_BYTES = 36;
const PLAIN = 0;
const WITH_DICTIONARY = 1;

/**
 * Frame and header, all that comes before the payloads. The same header gives the same bytes.
 *
 * @throws {BundleError} of kind `limit`
 */
export function encodeBundleHeader(header: BundleHeader): Uint8Array<ArrayBuffer> {
  const { images, from, unknownFrom } = header;
  const json = Buffer.from(JSON.stringify({ images, from, unknownFrom }));
  const writer = new ByteWriter(1024 + json.length + header.files.content.length * 6 + packedBytes(header));
  writer.varint(json.length).bytes(json);
  writer.varint(header.blobs.length);
  for (const blob of header.blobs) {
    writeText(writer, blob.digest);
    writeText(writer, blob.mediaType);
    writer.varint(blob.bytes.length).bytes(blob.bytes);
  }
  writer.varint(header.tocs.length);
  for (const toc of header.tocs) {
    writer.bytes(rawDigest(toc.tocDigest)).varint(toc.sizeBytes);
    if (toc.dictionary === undefined) writer.u8(PLAIN);
    else writer.u8(WITH_DICTIONARY).bytes(rawDigest(toc.dictionary));
    writer.varint(toc.bytes.length).bytes(toc.bytes);
  }
  writeFiles(writer, header.files);
  writePayloads(writer, header.payloads);
  const raw = writer.finish();
  const packed = zstdCompressSync(raw, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } });
  const frame = encodeFrame({
    headerLength: packed.length,
    headerBytes: raw.length,
    payloadCount: header.payloads.length.length,
    payloadBytes: header.payloads.length.reduce((sum, length) => sum + length, 0),
  });
  const out = new Uint8Array(frame.length + packed.length);
  out.set(frame);
  out.set(packed, frame.length);
  return out;
}

/**
 * The header, from the bytes that follow the frame.
 *
 * @throws {BundleError} on whatever `encodeBundleHeader` would not have written
 */
export function decodeBundleHeader(frame: BundleFrame, packed: Uint8Array): BundleHeader {
  const reader = new ByteReader(unpack(frame, packed), (fault, message) => new BundleError(fault, message));
  const json = parseJsonPart(reader.bytes(reader.count(BUNDLE_LIMIT.jsonBytes, 1)));
  const blobs = Array.from({ length: reader.count(BUNDLE_LIMIT.blobs, BLOB_BYTES) }, () => readBlob(reader));
  const tocs = Array.from({ length: reader.count(BUNDLE_LIMIT.images, TOC_BYTES) }, () => readToc(reader));
  if (
    tocs.length !== json.images.length ||
    tocs.some((toc, i) => toc.tocDigest !== json.images[i]?.tocDigest)
  ) {
    throw new BundleError('malformed', 'tables of contents that are not those of the images');
  }
  const files = readFiles(reader, frame.payloadCount);
  const payloads = readPayloads(reader, frame);
  reader.end();
  return { ...json, blobs, tocs, files, payloads };
}

function unpack(frame: BundleFrame, packed: Uint8Array): Uint8Array {
  let raw: Uint8Array;
  try {
    raw = zstdDecompressSync(packed, { maxOutputLength: Math.max(1, frame.headerBytes) });
  } catch (cause) {
    throw new BundleError('malformed', 'a header that cannot be decompressed', { cause });
  }
  if (raw.length !== frame.headerBytes) throw new BundleError('malformed', 'a header of another length');
  return raw;
}

function packedBytes(header: BundleHeader): number {
  return [...header.blobs, ...header.tocs].reduce((sum, { bytes }) => sum + bytes.length + 256, 0);
}

function writeText(writer: ByteWriter, text: string): void {
  const bytes = Buffer.from(text);
  writer.varint(bytes.length).bytes(bytes);
}

function readBlob(reader: ByteReader): BundleBlob {
  const digest = Buffer.from(reader.bytes(reader.varint(BUNDLE_LIMIT.digestBytes))).toString('latin1');
  if (!isDigest(digest)) throw new BundleError('malformed', 'the digest of a blob');
  const mediaType = Buffer.from(reader.bytes(reader.varint(BUNDLE_LIMIT.mediaTypeBytes))).toString();
  return { digest, mediaType, bytes: reader.bytes(reader.varint(BUNDLE_LIMIT.blobBytes)) };
}

function readToc(reader: ByteReader): BundleToc {
  const tocDigest = readDigest(reader);
  const sizeBytes = reader.varint(BUNDLE_LIMIT.headerBytes * 2);
  const encoding = reader.u8();
  if (encoding !== PLAIN && encoding !== WITH_DICTIONARY) {
    throw new BundleError('version', `encoding ${encoding} of a table of contents`);
  }
  const dictionary = encoding === PLAIN ? undefined : readDigest(reader);
  return { tocDigest, sizeBytes, dictionary, bytes: reader.bytes(reader.count(BUNDLE_LIMIT.headerBytes, 1)) };
}

function readDigest(reader: ByteReader): Digest {
  return `sha256:${Buffer.from(reader.bytes(32)).toString('hex')}` as Digest; // 32 bytes make one
}

function rawDigest(digest: Digest): Uint8Array {
  if (!digest.startsWith('sha256:'))
    throw new BundleError('malformed', `a ToC digest that is no sha256: ${digest}`);
  return Buffer.from(digest.slice(7), 'hex');
}
