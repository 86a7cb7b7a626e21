import { promisify } from 'node:util';
import { zstdCompress, zstdDecompress, constants as zlib } from 'node:zlib';
import { TOC_LIMIT } from '../../schemas/toc/limits.ts';
import { DirectoryError, type PackedToc } from './directory.ts';

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** Paid once per layer and image, at ingest. */
const LEVEL = 12;
/** What is handed back at a time: by default it is 16 kB, and as many turns of the event loop. */
const CHUNK_BYTES = 1024 * 1024;
const MIN_CHUNK_BYTES = 64;

/** The same bytes always pack to the same bytes. */
export async function pack(bytes: Uint8Array): Promise<PackedToc> {
  const packed = await compress(bytes, {
    chunkSize: CHUNK_BYTES,
    params: { [zlib.ZSTD_c_compressionLevel]: LEVEL },
  });
  return { bytes: packed, sizeBytes: bytes.length };
}

/** @throws {DirectoryError} of kind `corrupt` when the bytes are damaged or not of the size they say. */
export async function unpack(packed: PackedToc): Promise<Uint8Array> {
  try {
    const bytes = await decompress(packed.bytes, {
      maxOutputLength: Math.max(packed.sizeBytes, 1),
      // In one go; zlib.h, Z_MIN_CHUNK
      chunkSize: Math.max(MIN_CHUNK_BYTES, Math.min(packed.sizeBytes, TOC_LIMIT.imageBytes)),
    });
    if (bytes.length === packed.sizeBytes) return bytes;
  } catch (cause) {
    throw corrupt(cause);
  }
  throw corrupt(undefined);
}

function corrupt(cause: unknown): DirectoryError {
  return new DirectoryError(
    { kind: 'corrupt', what: 'toc' },
    'a table of contents in the directory does not unpack',
    { cause },
  );
}
