import type { Digest } from '../oci/digest.ts';
import { BundleError } from './error.ts';
import { type BundleFrame, decodeFrame, FRAME_BYTES } from './frame.ts';
import type { BundleHeader } from './header.ts';
import { decodeBundleHeader } from './header-codec.ts';
import { unpackToc } from './toc-packing.ts';

/** A piece of a payload. A payload comes in one or several, in order. */
export interface PayloadChunk {
  /** Row of the header's payloads. */
  readonly payload: number;
  /** Where these bytes begin in the payload. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** Where the byte after them is in the bundle: from there on a cut stream is to be resumed. */
  readonly nextPosition: number;
  /** True with the payload's last piece. */
  readonly last: boolean;
}

/** A bundle whose header has come in, and whose tables of contents have the digests announced. */
export interface OpenBundle {
  readonly frame: BundleFrame;
  readonly header: BundleHeader;
  /** The tables of the images, in their order; for `decodeImageToc`. */
  readonly tocs: readonly Uint8Array[];
  /** Where the first payload begins in the bundle. */
  readonly payloadsPosition: number;
  /** The whole length. */
  readonly totalBytes: number;
  /** The payloads; to be called once. */
  readonly payloads: () => AsyncGenerator<PayloadChunk, void, void>;
}

export interface ReadBundleOptions {
  /** The bytes of the image table with this digest, if they are at hand. */
  readonly dictionary: (tocDigest: Digest) => Uint8Array | undefined;
}

/**
 * Reads a bundle: returns as soon as the header is in, the payloads are read as they are asked for. The
 * caller still has to check that the ToC digests are those of the manifests, and every content against its
 * own digest.
 *
 * @throws {BundleError} and, when `signal` is aborted, its reason
 */
export async function readBundle(
  stream: AsyncIterable<Uint8Array>,
  options: ReadBundleOptions,
  signal: AbortSignal,
): Promise<OpenBundle> {
  const source = new Source(stream, signal);
  try {
    const frame = decodeFrame(await source.exactly(FRAME_BYTES));
    const header = decodeBundleHeader(frame, await source.exactly(frame.headerLength));
    const tocs = header.tocs.map((toc) => unpackToc(toc, options.dictionary));
    const payloadsPosition = FRAME_BYTES + frame.headerLength;
    return {
      ...{ frame, header, tocs, payloadsPosition, totalBytes: payloadsPosition + frame.payloadBytes },
      payloads: () => payloadChunks(source.rest(), { frame, header }, payloadsPosition, signal),
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/**
 * The payloads of a bundle from a position on, out of a stream that begins there: the rest of a first answer,
 * or a later one to a request for the range `position-`.
 *
 * @throws {BundleError} of kind `truncated` when the stream ends early, after all that came has been given
 *   out; of kind `malformed` when it goes on after the last payload
 */
export async function* payloadChunks(
  stream: AsyncIterable<Uint8Array>,
  bundle: Pick<OpenBundle, 'frame' | 'header'>,
  position: number,
  signal: AbortSignal,
): AsyncGenerator<PayloadChunk, void, void> {
  const lengths = bundle.header.payloads.length;
  let payload = 0;
  let offset = position - FRAME_BYTES - bundle.frame.headerLength;
  if (offset < 0) throw new RangeError(`position ${position} is before the payloads`);
  while (payload < lengths.length && offset >= (lengths[payload] ?? 0)) {
    offset -= lengths[payload] ?? 0;
    payload += 1;
  }
  let nextPosition = position;
  for await (const chunk of stream) {
    let rest = chunk;
    while (rest.length > 0) {
      signal.throwIfAborted();
      const length = lengths[payload];
      if (length === undefined) throw new BundleError('malformed', 'bytes after the last payload');
      const bytes = rest.subarray(0, Math.min(rest.length, length - offset));
      rest = rest.subarray(bytes.length);
      const last = offset + bytes.length === length;
      nextPosition += bytes.length;
      yield { payload, offset, bytes, nextPosition, last };
      offset = last ? 0 : offset + bytes.length;
      if (last) payload += 1;
    }
  }
  if (payload < lengths.length) throw new BundleError('truncated', `the bundle ends at byte ${nextPosition}`);
}

/** A stream of which a first part is taken by length. */
class Source {
  readonly #iterator: AsyncIterator<Uint8Array>;
  readonly #signal: AbortSignal;
  #left: Uint8Array = new Uint8Array(0);

  constructor(stream: AsyncIterable<Uint8Array>, signal: AbortSignal) {
    this.#iterator = stream[Symbol.asyncIterator]();
    this.#signal = signal;
  }

  /** The next `length` bytes. Memory grows with what arrives, not with what is announced. */
  async exactly(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      this.#signal.throwIfAborted();
      if (this.#left.length === 0) {
        const next = await this.#iterator.next();
        if (next.done === true) throw new BundleError('truncated', `the bundle ends ${missing} bytes early`);
        this.#left = next.value;
      }
      const part = this.#left.subarray(0, missing);
      this.#left = this.#left.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  async *rest(): AsyncGenerator<Uint8Array, void, void> {
    try {
      if (this.#left.length > 0) yield this.#left;
      for (let next = await this.#iterator.next(); next.done !== true; next = await this.#iterator.next()) {
        yield next.value;
      }
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }
}
