import { Backoff, type BackoffOptions } from './backoff.ts';
import { ByteSource } from './byte-source.ts';
import { DownloadError, isTransient } from './download-error.ts';
import type { BundleStream, Resume } from './proxy-client.ts';

/** Asks for the bundle, from a byte on if it still is the same one. */
export type OpenBundle = (resume: Resume | undefined, signal: AbortSignal) => Promise<BundleStream>;

/** The proxy has another bundle now (it was made anew, or the tag moved): {@link BundleFeed.restart} begins again. */
export class BundleChangedError extends Error {
  constructor() {
    super('the bundle is not the same any more');
    this.name = 'BundleChangedError';
  }
}

/** A bundle that is another one each time it is asked for is given up. */
const MAX_CHANGES = 5;
/** Somebody waits at a terminal for the first byte: a proxy that is not there is soon said to be so. */
const FIRST_RETRIES = 2;

/**
 * The bytes of one delta bundle, from its first or any later one, over as many connections as it takes. A cut is
 * met by asking for the rest; only when nothing comes for too long does reading fail with a
 * {@link DownloadError}. Every other error comes from {@link OpenBundle}, but for {@link BundleChangedError}.
 */
export class BundleFeed {
  readonly #open: OpenBundle;
  readonly #backoff: Backoff;
  readonly #signal: AbortSignal;
  readonly #onCut: (error: unknown, position: number) => void;
  #stream: BundleStream | undefined;
  #source: ByteSource;
  #etag: string | undefined;
  /** Where in the bundle `#source` began. */
  #base = 0;
  #lengthBytes: number | undefined;
  #receivedBytes = 0;
  #changes = 0;
  /** Of the reader in use: one that was left behind must not touch the connection of the next. */
  #generation = 0;

  constructor(
    open: OpenBundle,
    backoff: BackoffOptions,
    signal: AbortSignal,
    onCut: (error: unknown, position: number) => void,
  ) {
    this.#open = open;
    this.#backoff = new Backoff(backoff);
    this.#signal = signal;
    this.#onCut = onCut;
    this.#source = new ByteSource(this.#bytesFrom(0));
  }

  /** The offset in the bundle of the next byte to be read. */
  get position(): number {
    return this.#base + this.#source.consumedBytes;
  }

  /** Bytes that came over the wire, on all connections. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  get lengthBytes(): number | undefined {
    return this.#lengthBytes;
  }

  /** Whether a later offset can be asked for without the bytes in between. */
  get canSeek(): boolean {
    return this.#etag !== undefined;
  }

  /** The bundle's bytes from here on. */
  get source(): ByteSource {
    return this.#source;
  }

  /** Goes on at a later offset; the bytes in between are never sent. */
  seek(position: number): void {
    this.close();
    this.#generation += 1;
    this.#base = position;
    this.#source = new ByteSource(this.#bytesFrom(position));
  }

  /** Begins again, with whatever bundle there is now; for use after a {@link BundleChangedError}. */
  restart(): void {
    this.#etag = undefined;
    this.#lengthBytes = undefined;
    this.seek(0);
  }

  /** Ends the transfer. */
  close(): void {
    this.#stream?.cancel();
    this.#stream = undefined;
  }

  async *#bytesFrom(start: number): AsyncGenerator<Uint8Array> {
    const generation = this.#generation;
    let position = start;
    for (;;) {
      let cut: unknown;
      try {
        const stream = await this.#connect(position);
        for await (const chunk of stream.body) {
          position += chunk.byteLength;
          this.#receivedBytes += chunk.byteLength;
          this.#backoff.reset();
          yield chunk;
        }
        if (this.#lengthBytes === undefined || position >= this.#lengthBytes) return;
        cut = new DownloadError('unreachable', 'the transfer ended before its time');
      } catch (error) {
        this.#signal.throwIfAborted();
        if (generation !== this.#generation) return;
        if (error instanceof BundleChangedError) throw this.#counted(error);
        if (error instanceof DownloadError && !isTransient(error)) throw error;
        cut = error;
      }
      this.close();
      this.#onCut(cut, position);
      const retries = this.#receivedBytes === 0 ? FIRST_RETRIES : undefined;
      await this.#backoff.pause(asUnreachable(cut), this.#signal, retries);
    }
  }

  #counted(change: BundleChangedError): Error {
    this.#changes += 1;
    if (this.#changes <= MAX_CHANGES) return change;
    return new DownloadError('unavailable', 'the proxy gives another bundle each time', { cause: change });
  }

  async #connect(position: number): Promise<BundleStream> {
    const etag = this.#etag;
    const resume = position > 0 && etag !== undefined ? { offset: position, etag } : undefined;
    const stream = await this.#open(resume, this.#signal);
    this.#stream = stream;
    this.#etag = stream.etag;
    this.#lengthBytes = stream.lengthBytes;
    if (stream.offset !== position) throw new BundleChangedError();
    return stream;
  }
}

function asUnreachable(error: unknown): DownloadError {
  if (error instanceof DownloadError) return error;
  return new DownloadError('unreachable', 'the transfer was cut', { cause: error });
}
