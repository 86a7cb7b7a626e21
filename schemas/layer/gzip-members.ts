import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib';
import type { ByteWindow } from './byte-window.ts';
import { GZIP_TRAILER_BYTES, parseGzipHeader } from './gzip-header.ts';
import { LayerError } from './layer-error.ts';
import { LAYER_LIMIT } from './limits.ts';

/** One gzip member of a blob. */
export interface GzipMember {
  /** Of its header, in the blob. */
  readonly offset: number;
  readonly lengthBytes: number;
  /** What it decompresses to. */
  readonly sizeBytes: number;
  readonly extra: Buffer | undefined;
}

/** A member that fits into the window with its output below this is decompressed in one call. */
const WINDOW_BYTES = 128 * 1024;
const WHOLE_OUTPUT_BYTES = 1024 * 1024;
/** A larger one is fed piece by piece; deflate's ratio of at most 1032 bounds what a piece becomes. */
const PIECE_BYTES = 32 * 1024;

/**
 * Decompresses a stream of gzip members, one behind the other, and tells where each begins and ends: Node's
 * gunzip runs over the boundaries. Yields the output in order; `onMember` is called after a member's output
 * has been yielded. Every CRC and size is checked.
 *
 * @throws {LayerError} `corrupt`, also where anything but a member follows a member.
 */
export async function* gunzipMembers(
  window: ByteWindow,
  onMember: (member: GzipMember) => void,
): AsyncGenerator<Buffer, void> {
  for (let count = 0; ; count += 1) {
    const seen = await window.see(WINDOW_BYTES);
    if (seen.length === 0 && count > 0) return;
    if (count >= LAYER_LIMIT.gzipMembers) throw new LayerError('limit', 'too many gzip members');
    const offset = window.position;
    const header = parseGzipHeader(seen);
    if (header === undefined) {
      throw corrupt(count === 0 ? 'not a gzip stream' : 'what follows a gzip member is no other');
    }
    if (header === 'incomplete') throw corrupt('a gzip header that is cut off or too large');
    window.take(header.lengthBytes);
    const sum = new Checksum();
    const whole = inflateWhole(seen.subarray(header.lengthBytes));
    if (whole !== undefined) {
      window.take(whole.consumedBytes);
      sum.update(whole.output);
      if (whole.output.length > 0) yield whole.output;
    } else {
      for await (const output of inflatePieces(window)) {
        sum.update(output);
        yield output;
      }
    }
    const trailer = await window.see(GZIP_TRAILER_BYTES);
    if (trailer.length < GZIP_TRAILER_BYTES) throw corrupt('a gzip member is cut off');
    if (trailer.readUInt32LE(0) !== sum.crc || trailer.readUInt32LE(4) !== sum.sizeBytes % 2 ** 32) {
      throw corrupt('a gzip member whose checksum or size is wrong');
    }
    window.take(GZIP_TRAILER_BYTES);
    const { extra } = header;
    onMember({ offset, lengthBytes: window.position - offset, sizeBytes: sum.sizeBytes, extra });
  }
}

class Checksum {
  crc = 0;
  sizeBytes = 0;

  update(bytes: Buffer): void {
    this.crc = crc32(bytes, this.crc);
    this.sizeBytes += bytes.length;
  }
}

function corrupt(reason: string, cause?: unknown): LayerError {
  return new LayerError('corrupt', reason, cause === undefined ? undefined : { cause });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** The deflate stream at the start of `bytes`; `undefined` when it goes on behind, or is large. */
function inflateWhole(bytes: Buffer): { output: Buffer; consumedBytes: number } | undefined {
  try {
    // With `info` the engine comes back too (node:zlib), which alone knows how much it has consumed.
    const result: unknown = inflateRawSync(bytes, { info: true, maxOutputLength: WHOLE_OUTPUT_BYTES });
    const { buffer, engine } = result as { buffer: Buffer; engine: { bytesWritten: number } };
    return { output: buffer, consumedBytes: engine.bytesWritten };
  } catch (error) {
    const code = codeOf(error);
    if (code === 'Z_BUF_ERROR' || code === 'ERR_BUFFER_TOO_LARGE') return undefined;
    throw corrupt('a gzip member that cannot be decompressed', error);
  }
}

/** The deflate stream at the window's position, of any size, taken from the window to its exact end. */
async function* inflatePieces(window: ByteWindow): AsyncGenerator<Buffer, void> {
  const inflate = createInflateRaw({ chunkSize: 64 * 1024 });
  const outputs: Buffer[] = [];
  inflate.on('data', (output: Buffer) => outputs.push(output));
  const failed = new Promise<never>((_, reject) => {
    inflate.once('error', (error) => reject(corrupt('a gzip member that cannot be decompressed', error)));
  });
  failed.catch(() => {}); // also when nobody waits for it any more
  try {
    for (;;) {
      const piece = (await window.see(1)).subarray(0, PIECE_BYTES);
      if (piece.length === 0) throw corrupt('a gzip member is cut off');
      const before = inflate.bytesWritten;
      const written = new Promise<void>((resolve) => inflate.write(piece, () => resolve()));
      await Promise.race([written, failed]);
      const consumedBytes = inflate.bytesWritten - before;
      window.take(consumedBytes);
      for (const output of outputs.splice(0)) yield output;
      if (consumedBytes < piece.length) return; // the engine leaves only what is behind the stream's end
    }
  } finally {
    inflate.destroy();
  }
}
