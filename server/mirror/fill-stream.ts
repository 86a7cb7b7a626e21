import { Readable } from 'node:stream';
import { whenAborted } from '../../schemas/concurrency/when-aborted.ts';
import type { Fill, FillSource } from './fill.ts';
import { isNotKept } from './mirror-error.ts';

/**
 * Bytes `start` up to and excluding `end` of a fill, as they arrive. Of the whole content the last byte is held
 * back until the digest is proven, so that a wrong one breaks the stream and nobody takes it for an end. Where the
 * disk fails in between, the rest comes from the upstream itself.
 */
export class FillStream extends Readable {
  readonly #fill: Fill;
  readonly #source: FillSource;
  readonly #end: number;
  readonly #heldBack: boolean;
  readonly #leave: () => void;
  readonly #gone = new AbortController();
  #at: number;
  #direct: AsyncIterator<Uint8Array> | undefined;

  constructor(fill: Fill, start: number, end: number, source: FillSource) {
    super();
    this.#fill = fill;
    this.#source = source;
    this.#at = start;
    this.#end = end;
    this.#heldBack = start === 0 && end === fill.sizeBytes;
    this.#leave = fill.join();
  }

  /** Resolves when there is something to read: from then on only a broken stream can tell of a failure. */
  async primed(signal: AbortSignal): Promise<void> {
    if (this.#at >= this.#end) return;
    const ready = this.#fill.ready(this.#at, this.#end, this.#source, signal);
    await Promise.race([ready, whenAborted(signal)]);
  }

  override _read(): void {
    this.#next().then(
      (bytes) => this.push(bytes),
      (error: Error) => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#gone.abort(new DOMException('the stream was closed', 'AbortError'));
    // Not awaited: what is in flight ends with the signal.
    void this.#direct?.return?.()?.catch(() => undefined);
    this.#leave();
    callback(error);
  }

  async #next(): Promise<Uint8Array | null> {
    const { signal } = this.#gone;
    if (this.#direct !== undefined) return await this.#nextDirect(this.#direct);
    try {
      if (this.#heldBack && this.#at >= this.#end - 1) await this.#complete(signal);
      if (this.#at >= this.#end) return null;
      const there = await this.#fill.ready(this.#at, this.#end, this.#source, signal);
      const to = this.#heldBack && !this.#fill.verified ? Math.min(there, this.#end - 1) : there;
      const bytes = await this.#fill.read(this.#at, Math.min(to, this.#end));
      this.#at += bytes.byteLength;
      return bytes;
    } catch (error) {
      if (!isNotKept(error) || signal.aborted) throw error;
      const body = await this.#source(this.#at, this.#end, signal);
      this.#direct = body[Symbol.asyncIterator]();
      return await this.#nextDirect(this.#direct);
    }
  }

  async #complete(signal: AbortSignal): Promise<void> {
    if (this.#at < this.#end) await this.#fill.ready(this.#at, this.#end, this.#source, signal);
    await this.#fill.whenVerified(signal);
  }

  async #nextDirect(body: AsyncIterator<Uint8Array>): Promise<Uint8Array | null> {
    const next = await body.next();
    if (next.done === true) {
      if (this.#at < this.#end) throw new Error('the upstream sent less than it announced');
      return null;
    }
    const bytes = next.value.subarray(0, this.#end - this.#at);
    this.#at += bytes.byteLength;
    return bytes.byteLength === 0 ? await this.#nextDirect(body) : bytes;
  }
}
