import { LayerError } from './layer-error.ts';
import { LAYER_LIMIT } from './limits.ts';
import { type PaxRecords, parsePax } from './pax.ts';
import type { TarEntry } from './tar-entry.ts';
import { BLOCK_BYTES, checkChecksum, entryOf, headerSize, isZeroBlock, typeFlagOf } from './tar-header.ts';
import { untilNul } from './tar-number.ts';

/** Who hears what a {@link TarParser} finds. What `meta` and `content` get, in order, is the whole stream. */
export interface TarSink {
  /** Bytes that are no file's data: headers, long names, padding, the end of the archive and what follows. */
  meta(bytes: Buffer): void;
  /** An entry, after all bytes of its headers; `sizeBytes` bytes of `content` follow. */
  entry(entry: TarEntry): void;
  content(bytes: Buffer): void;
  /** The first of the two zero blocks that end the archive, before its bytes. Not called when there is none. */
  archiveEnd?(): void;
}

type State =
  | { readonly is: 'header' }
  /** Data of an `x`, `g`, `L` or `K` entry. */
  | { readonly is: 'special'; readonly flag: string; readonly sizeBytes: number }
  | { readonly is: 'content' }
  | { readonly is: 'padding' }
  | { readonly is: 'end' };

function paddingOf(sizeBytes: number): number {
  return (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
}

/**
 * Reads a tar stream that is pushed in pieces of any size, and loses no byte of it. Synchronous; holds at
 * most one header or one PAX header. The rules are those of Go's archive/tar, which containerd unpacks with:
 * global PAX headers count for nothing, the archive ends at two zero blocks (one, if it is the last) or at
 * the end of the stream, and what follows is of no meaning.
 */
export class TarParser {
  readonly #sink: TarSink;
  #state: State = { is: 'header' };
  /** Bytes of this state still to come (content, padding). */
  #remaining = 0;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #zeroBlocks = 0;
  #entries = 0;
  #pax: PaxRecords | undefined;
  #longName: Buffer | undefined;
  #longLink: Buffer | undefined;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** @throws {LayerError} `tar`, `unsupported` or `limit` */
  push(chunk: Uint8Array): void {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = 0;
    while (at < bytes.length) at += this.#take(bytes.subarray(at));
  }

  /** @throws {LayerError} `tar` when the stream ended within an entry. */
  end(): void {
    const clean = this.#state.is === 'end' || (this.#state.is === 'header' && this.#heldBytes === 0);
    const pending = this.#pax !== undefined || this.#longName !== undefined || this.#longLink !== undefined;
    if (!clean || (pending && this.#state.is === 'header')) {
      throw new LayerError('tar', 'the tar archive ends within an entry');
    }
  }

  /** Deals with the first bytes of `bytes`, and says with how many. */
  #take(bytes: Buffer): number {
    const state = this.#state;
    switch (state.is) {
      case 'header': {
        const taken = this.#hold(bytes, BLOCK_BYTES);
        if (this.#heldBytes === BLOCK_BYTES) this.#header(this.#release());
        return taken;
      }
      case 'special': {
        const taken = this.#hold(bytes, state.sizeBytes);
        if (this.#heldBytes === state.sizeBytes) this.#special(state.flag, this.#release());
        return taken;
      }
      case 'content': {
        const piece = bytes.subarray(0, this.#remaining);
        this.#remaining -= piece.length;
        this.#sink.content(piece);
        if (this.#remaining === 0) this.#pad(this.#contentPadding);
        return piece.length;
      }
      case 'padding': {
        const piece = bytes.subarray(0, this.#remaining);
        this.#remaining -= piece.length;
        this.#sink.meta(piece);
        if (this.#remaining === 0) this.#state = { is: 'header' };
        return piece.length;
      }
      case 'end':
        this.#sink.meta(bytes);
        return bytes.length;
      default:
        return state satisfies never;
    }
  }

  #contentPadding = 0;

  #pad(sizeBytes: number): void {
    this.#remaining = sizeBytes;
    this.#state = sizeBytes === 0 ? { is: 'header' } : { is: 'padding' };
  }

  #hold(bytes: Buffer, wantedBytes: number): number {
    const piece = bytes.subarray(0, wantedBytes - this.#heldBytes);
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    return piece.length;
  }

  #release(): Buffer {
    const [first] = this.#held;
    const whole = this.#held.length === 1 && first !== undefined ? first : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    return whole;
  }

  #header(block: Buffer): void {
    if (isZeroBlock(block)) {
      this.#zeroBlocks += 1;
      if (this.#zeroBlocks === 1) this.#sink.archiveEnd?.();
      if (this.#zeroBlocks === 2) this.#state = { is: 'end' };
      this.#sink.meta(block);
      return;
    }
    if (this.#zeroBlocks > 0) throw new LayerError('tar', 'a single zero block within the archive');
    checkChecksum(block);
    this.#entries += 1;
    if (this.#entries > LAYER_LIMIT.entries) throw new LayerError('limit', 'too many entries in a layer');
    this.#sink.meta(block);
    const flag = typeFlagOf(block);
    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
      const sizeBytes = headerSize(block);
      if (sizeBytes > LAYER_LIMIT.specialEntryBytes) {
        throw new LayerError('limit', 'a PAX header or long name is too large');
      }
      if (sizeBytes === 0) this.#special(flag, Buffer.alloc(0), false);
      else this.#state = { is: 'special', flag, sizeBytes };
      return;
    }
    const overrides = { pax: this.#pax, longName: this.#longName, longLink: this.#longLink };
    const entry = entryOf(block, overrides);
    this.#pax = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#sink.entry(entry);
    if (entry.sizeBytes === 0) return;
    this.#remaining = entry.sizeBytes;
    this.#contentPadding = paddingOf(entry.sizeBytes);
    this.#state = { is: 'content' };
  }

  #special(flag: string, data: Buffer, report = true): void {
    if (report) this.#sink.meta(data);
    const copy = Buffer.from(data); // outlives the pushed piece
    if (flag === 'x') this.#pax = parsePax(copy);
    else if (flag === 'L') this.#longName = untilNul(copy);
    else if (flag === 'K') this.#longLink = untilNul(copy);
    else parsePax(copy); // global: of no effect, but it has to be sound
    this.#pad(paddingOf(data.length));
  }
}
