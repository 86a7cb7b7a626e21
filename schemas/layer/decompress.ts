import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createZstdDecompress } from 'node:zlib';
import type { LayerCompression } from '../oci/media-types.ts';
import { type ByteSource, ByteWindow } from './byte-window.ts';
import { type GzipMember, gunzipMembers } from './gzip-members.ts';
import { LayerError } from './layer-error.ts';

/** A layer blob that is being decompressed. */
export interface OpenedLayer {
  /** By what the blob begins with; its media type has no say. */
  readonly compression: LayerCompression;
  /** The tar stream. Must be read to its end or closed. */
  readonly tar: AsyncGenerator<Buffer, void>;
}

export interface LayerListener {
  /** Every piece of the blob, once, in order. */
  readonly onBytes?: (bytes: Uint8Array) => void;
  /** Every gzip member, after its output. */
  readonly onMember?: (member: GzipMember) => void;
}

const PIECE_BYTES = 64 * 1024;

/**
 * Begins to decompress a layer blob: gzip (any number of members), zstd (any number of frames) or none.
 *
 * @throws {LayerError} from `tar`: `corrupt` when the compressed stream is damaged or cut off.
 */
export async function openLayer(
  blob: ByteSource,
  signal: AbortSignal,
  listener: LayerListener = {},
): Promise<OpenedLayer> {
  const window = new ByteWindow(blob, signal, listener.onBytes);
  try {
    const compression = compressionOf(await window.see(4));
    return { compression, tar: closing(window, tarOf(compression, window, signal, listener)) };
  } catch (error) {
    await window.close();
    throw error;
  }
}

function tarOf(
  compression: LayerCompression,
  window: ByteWindow,
  signal: AbortSignal,
  listener: LayerListener,
): AsyncGenerator<Buffer, void> {
  switch (compression) {
    case 'gzip':
      return gunzipMembers(window, listener.onMember ?? (() => {}));
    case 'zstd':
      return unzstd(window, signal);
    case 'none':
      return pieces(window);
    default:
      return compression satisfies never;
  }
}

/** RFC 8878 section 3.1.1 and 3.1.2: a frame, or a skippable frame (zstd:chunked may begin with one). */
function compressionOf(start: Buffer): LayerCompression {
  if (start[0] === 0x1f && start[1] === 0x8b) return 'gzip';
  const magic = start.length < 4 ? 0 : start.readUInt32LE(0);
  return magic === 0xfd2fb528 || (magic & 0xfffffff0) >>> 0 === 0x184d2a50 ? 'zstd' : 'none';
}

async function* closing(window: ByteWindow, tar: AsyncGenerator<Buffer, void>): AsyncGenerator<Buffer, void> {
  try {
    yield* tar;
  } finally {
    await window.close();
  }
}

async function* pieces(window: ByteWindow): AsyncGenerator<Buffer, void> {
  for (;;) {
    const piece = (await window.see(1)).subarray(0, PIECE_BYTES);
    if (piece.length === 0) return;
    window.take(piece.length);
    yield piece;
  }
}

async function* unzstd(window: ByteWindow, signal: AbortSignal): AsyncGenerator<Buffer, void> {
  const decompress = createZstdDecompress({ chunkSize: 256 * 1024 });
  let sourceError: unknown;
  const source = async function* (): AsyncGenerator<Buffer, void> {
    try {
      yield* pieces(window);
    } catch (error) {
      sourceError = error;
      throw error;
    }
  };
  const fed = pipeline(Readable.from(source()), decompress, { signal });
  fed.catch(() => {}); // awaited below, unless the reader gives up first
  try {
    for await (const output of decompress) yield output as Buffer; // not in object mode, no encoding
    await fed;
  } catch (error) {
    if (sourceError !== undefined) throw sourceError;
    signal.throwIfAborted();
    throw new LayerError('corrupt', 'a zstd stream that cannot be decompressed', { cause: error });
  } finally {
    decompress.destroy();
  }
}
