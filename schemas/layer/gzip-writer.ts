import { promisify } from 'node:util';
import { constants, crc32, deflateRaw } from 'node:zlib';
import { GZIP_TRAILER_BYTES } from './gzip-header.ts';

const deflate = promisify(deflateRaw);

/** No name, no time, "maximum compression", system unknown: nothing that could differ between two runs. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);

/** Compresses `bytes` to one gzip member, off the main thread; the same bytes give the same member. */
export async function gzipMember(bytes: Buffer): Promise<Buffer> {
  const body = await deflate(bytes, { level: constants.Z_BEST_COMPRESSION, memLevel: 8 });
  const trailer = Buffer.alloc(GZIP_TRAILER_BYTES);
  trailer.writeUInt32LE(crc32(bytes), 0);
  trailer.writeUInt32LE(bytes.length % 2 ** 32, 4);
  return Buffer.concat([HEADER, body, trailer]);
}
