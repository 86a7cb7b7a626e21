import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import {
  createGunzip,
  createZstdDecompress,
  gunzip,
  gunzipSync,
  zstdDecompress,
  zstdDecompressSync,
} from 'node:zlib';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { ContentStore } from '../store/content-store.ts';
import { isStoreFault } from '../store/store-error.ts';
import { DownloadError } from './download-error.ts';

/** A content in a payload, as the verified table of contents has it; the place is only claimed. */
export type PayloadItem = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly innerOffset: number;
};

export type PayloadEncoding = 'gzip-member' | 'zstd';

/** Beyond its contents a payload may decompress to padding and the next tar header with its PAX records. */
export const EXCESS_LIMIT_BYTES = 4 * 1024 * 1024;
/** Payloads that end below this, decompressed, are handled in memory; larger ones as streams. */
export const IN_MEMORY_LIMIT_BYTES = 2 * 1024 * 1024;
/** Below this, decompressing is quicker than asking a thread to do it. */
const ON_THE_SPOT_LIMIT_BYTES = 128 * 1024;

/** What mostly follows the last content of a payload: the rest of its tar block. */
const PADDING_BYTES = 1024;

/** Contents of one payload written side by side; the time goes into making files. */
const WRITES_AT_ONCE = 8;

const gunzipAsync = promisify(gunzip);
const zstdAsync = promisify(zstdDecompress);

/** Bytes that the payload holds at least, decompressed. */
export function payloadEnd(items: readonly PayloadItem[]): number {
  return items.reduce((end, item) => Math.max(end, item.innerOffset + item.sizeBytes), 0);
}

/**
 * Stores the contents of a payload at hand. @returns those that it does not hold, whatever the reason; the
 * others are in the store.
 * @throws {StoreError} `no-space` and other failures of the store itself.
 */
export async function storePayload(
  encoding: PayloadEncoding,
  bytes: Uint8Array,
  items: readonly PayloadItem[],
  store: ContentStore,
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  let decoded: Uint8Array;
  try {
    decoded = await decode(encoding, bytes, payloadEnd(items));
  } catch {
    return items.map((item) => item.digest); // not compressed bytes at all, or a bomb
  }
  const refused: Digest[] = [];
  const rest = items.values();
  const worker = async (): Promise<void> => {
    // The iterator is shared: each content goes to one of the workers.
    for (const { digest, sizeBytes, innerOffset } of rest) {
      const content = decoded.subarray(innerOffset, innerOffset + sizeBytes);
      if (!(await stored(store, digest, sizeBytes, content, signal))) refused.push(digest);
    }
  };
  const workers = Math.min(WRITES_AT_ONCE, items.length);
  const outcomes = await Promise.allSettled(Array.from({ length: workers }, worker));
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure !== undefined) throw failure.reason;
  return refused;
}

/**
 * The same for a payload that is on its way. The stream is read to its end unless something is refused.
 * @throws {DownloadError} `unreachable` when the stream is cut.
 */
export async function storePayloadStream(
  encoding: PayloadEncoding,
  bytes: AsyncIterable<Uint8Array>,
  items: readonly PayloadItem[],
  store: ContentStore,
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  const missing = new Set(items.map((item) => item.digest));
  const sorted = items.toSorted((a, b) => a.innerOffset - b.innerOffset);
  const limitBytes = payloadEnd(items) + EXCESS_LIMIT_BYTES;
  try {
    await pipeline(
      bytes,
      encoding === 'zstd' ? createZstdDecompress() : createGunzip(),
      async (decoded: AsyncIterable<Uint8Array>) => {
        const reader = new DecodedReader(decoded, limitBytes);
        for (const { digest, sizeBytes, innerOffset } of sorted) {
          if (!(await reader.skipTo(innerOffset))) continue; // it overlaps another content: refused
          if (store.has(digest)) {
            missing.delete(digest);
            continue;
          }
          if (await stored(store, digest, sizeBytes, reader.take(sizeBytes), signal)) missing.delete(digest);
        }
        await reader.finish();
      },
      { signal },
    );
  } catch (error) {
    if (!isDecodingError(error)) throw error;
  }
  return [...missing];
}

async function stored(
  store: ContentStore,
  digest: Digest,
  sizeBytes: number,
  source: Uint8Array | AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await store.write(digest, sizeBytes, source, signal);
    return true;
  } catch (error) {
    if (isStoreFault(error, 'digest-mismatch') || isStoreFault(error, 'size-mismatch')) return false;
    throw error;
  }
}

async function decode(encoding: PayloadEncoding, bytes: Uint8Array, endBytes: number): Promise<Uint8Array> {
  const maxOutputLength = endBytes + EXCESS_LIMIT_BYTES;
  const small = endBytes <= ON_THE_SPOT_LIMIT_BYTES && bytes.byteLength <= ON_THE_SPOT_LIMIT_BYTES;
  // Room for what is expected and a little padding, instead of 16 kB for each of many small files.
  const options = small ? { maxOutputLength, chunkSize: endBytes + PADDING_BYTES } : { maxOutputLength };
  switch (encoding) {
    case 'gzip-member':
      return small ? gunzipSync(bytes, options) : await gunzipAsync(bytes, options);
    case 'zstd':
      return small ? zstdDecompressSync(bytes, options) : await zstdAsync(bytes, options);
    default:
      return encoding satisfies never;
  }
}

/** Faults of the bytes, as opposed to those of the wire or the disk. */
function isDecodingError(error: unknown): boolean {
  if (error instanceof PayloadBoundError) return true;
  if (!(error instanceof Error) || error instanceof DownloadError || !('code' in error)) return false;
  return typeof error.code === 'string' && /^(?:Z_|ZSTD_|ERR_ZSTD)/.test(error.code);
}

class PayloadBoundError extends Error {}

/** Walks through decompressed bytes, and no further than they may go. */
class DecodedReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #limitBytes: number;
  #buffered: Uint8Array = new Uint8Array(0);
  #position = 0;

  constructor(chunks: AsyncIterable<Uint8Array>, limitBytes: number) {
    this.#chunks = chunks[Symbol.asyncIterator]();
    this.#limitBytes = limitBytes;
  }

  /** @returns false when the offset is behind already. */
  async skipTo(offset: number): Promise<boolean> {
    while (this.#position < offset && (await this.#some(offset - this.#position)).byteLength > 0);
    return this.#position === offset;
  }

  /** Up to `length` bytes, fewer at the end. */
  async *take(length: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0; ) {
      const part = await this.#some(left);
      if (part.byteLength === 0) return;
      left -= part.byteLength;
      yield part;
    }
  }

  async finish(): Promise<void> {
    while ((await this.#some(Number.MAX_SAFE_INTEGER)).byteLength > 0);
  }

  async #some(limit: number): Promise<Uint8Array> {
    while (this.#buffered.byteLength === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return new Uint8Array(0);
      this.#buffered = next.value;
    }
    const part = this.#buffered.subarray(0, limit);
    this.#buffered = this.#buffered.subarray(part.byteLength);
    this.#position += part.byteLength;
    if (this.#position > this.#limitBytes) throw new PayloadBoundError('a payload decompresses to too much');
    return part;
  }
}
