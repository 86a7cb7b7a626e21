import { ByteReader } from '../toc/byte-reader.ts';
import { ByteWriter } from '../toc/byte-writer.ts';
import { BundleError } from './error.ts';
import { BUNDLE_LIMIT } from './limits.ts';

const MAGIC = Buffer.from('SLDB');
const VERSION = 1;

/** The length of the frame that every bundle begins with. */
export const FRAME_BYTES = 32;

/** What the first bytes of a bundle say; README.md draws them. */
export interface BundleFrame {
  /** Length of the header as it is sent, compressed; it follows the frame. */
  readonly headerLength: number;
  /** Length of the header decompressed. */
  readonly headerBytes: number;
  readonly payloadCount: number;
  /** Length of all payloads together; they follow the header. */
  readonly payloadBytes: number;
}

/** @throws {BundleError} of kind `limit` */
export function encodeFrame(frame: BundleFrame): Uint8Array<ArrayBuffer> {
  checkFrame(frame);
  return new ByteWriter(FRAME_BYTES)
    .bytes(MAGIC)
    .u32(VERSION) // version u16, flags u16
    .u32(frame.headerLength)
    .u32(frame.headerBytes)
    .u32(frame.payloadCount)
    .u32(0)
    .u64(frame.payloadBytes)
    .finish();
}

/** @param bytes exactly FRAME_BYTES of them @throws {BundleError} */
export function decodeFrame(bytes: Uint8Array): BundleFrame {
  const reader = new ByteReader(bytes, (fault, message) => new BundleError(fault, message));
  const magic = reader.bytes(4);
  const version = reader.u32();
  if (!MAGIC.equals(magic) || version !== VERSION) {
    throw new BundleError('version', 'not a delta bundle, version 1 without flags');
  }
  const headerLength = reader.u32();
  const headerBytes = reader.u32();
  const payloadCount = reader.u32();
  if (reader.u32() !== 0) throw new BundleError('malformed', 'a frame with something in its empty field');
  const frame = { headerLength, headerBytes, payloadCount, payloadBytes: reader.u64() };
  reader.end();
  checkFrame(frame);
  return frame;
}

function checkFrame(frame: BundleFrame): void {
  if (
    frame.headerLength > BUNDLE_LIMIT.headerBytes ||
    frame.headerBytes > BUNDLE_LIMIT.headerBytes ||
    frame.payloadCount > BUNDLE_LIMIT.files ||
    frame.payloadBytes > BUNDLE_LIMIT.magnitude
  ) {
    throw new BundleError('limit', `a bundle with ${JSON.stringify(frame)}`);
  }
}
