import { DownloadError } from './download-error.ts';

/**
 * Reads a stream of chunks in pieces of known length. Not for use by two readers at once.
 *
 * What the stream throws is passed on; its end before the bytes asked for is a {@link DownloadError}
 * `unreachable`.
 */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #buffered: Uint8Array = new Uint8Array(0);
  #consumedBytes = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** Bytes given out so far. */
  get consumedBytes(): number {
    return this.#consumedBytes;
  }

  /** Exactly `length` bytes; a view where they lie in one chunk. Memory grows with what comes, not with `length`. */
  async read(length: number): Promise<Uint8Array> {
    const first = await this.#some(length);
    if (first.byteLength === length) return first;
    const parts = [first];
    for (let left = length - first.byteLength; left > 0; ) {
      const part = await this.#some(left);
      parts.push(part);
      left -= part.byteLength;
    }
    return Buffer.concat(parts, length);
  }

  /** The next `length` bytes as they come. */
  async *take(length: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0; ) {
      const part = await this.#some(left);
      left -= part.byteLength;
      yield part;
    }
  }

  async skip(length: number): Promise<void> {
    for (let left = length; left > 0; ) left -= (await this.#some(left)).byteLength;
  }

  /** At least one byte and at most `limit`, unless `limit` is 0. */
  async #some(limit: number): Promise<Uint8Array> {
    while (this.#buffered.byteLength === 0 && limit > 0) {
      const next = await this.#chunks.next();
      if (next.done === true) throw new DownloadError('unreachable', 'the transfer ended before its time');
      this.#buffered = next.value;
    }
    const part = this.#buffered.subarray(0, limit);
    this.#buffered = this.#buffered.subarray(limit);
    this.#consumedBytes += part.byteLength;
    return part;
  }
}
