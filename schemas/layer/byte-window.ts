/** What can be handed on for reading as raw bytes. */
export type ByteSource = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

const EMPTY = Buffer.alloc(0);

/**
 * A stream read through a window: bytes are looked at before they are taken. Holds what was asked to be seen
 * and at most one piece of the source beyond that.
 */
export class ByteWindow {
  readonly #source: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  readonly #signal: AbortSignal;
  readonly #onBytes: ((bytes: Uint8Array) => void) | undefined;
  #window: Buffer = EMPTY;
  #ended = false;
  #taken = 0;

  /** @param onBytes hears every piece of the source once, in order. */
  constructor(source: ByteSource, signal: AbortSignal, onBytes?: (bytes: Uint8Array) => void) {
    this.#source =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    this.#signal = signal;
    this.#onBytes = onBytes;
  }

  /** How many bytes of the source have been taken. */
  get position(): number {
    return this.#taken;
  }

  /** The window: at least `wantedBytes`, fewer only at the end of the source. A view until the next call. */
  async see(wantedBytes: number): Promise<Buffer> {
    if (this.#window.length >= wantedBytes || this.#ended) return this.#window;
    const pieces: Buffer[] = [this.#window];
    let length = this.#window.length;
    while (length < wantedBytes) {
      this.#signal.throwIfAborted();
      const next = await this.#source.next();
      if (next.done === true) {
        this.#ended = true;
        break;
      }
      const piece = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
      this.#onBytes?.(piece);
      pieces.push(piece);
      length += piece.length;
    }
    this.#window = pieces.length === 2 && pieces[0] === EMPTY ? (pieces[1] ?? EMPTY) : Buffer.concat(pieces);
    return this.#window;
  }

  /** Takes bytes that were seen. */
  take(countBytes: number): void {
    if (countBytes > this.#window.length) throw new RangeError('more taken than was seen');
    this.#window = countBytes === this.#window.length ? EMPTY : this.#window.subarray(countBytes);
    this.#taken += countBytes;
  }

  /** Tells the source that no more is wanted. */
  async close(): Promise<void> {
    if (!this.#ended) await this.#source.return?.();
    this.#ended = true;
  }
}
