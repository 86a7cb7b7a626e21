import type { IncomingMessage, ServerResponse } from 'node:http';

export interface BodyProgressOptions {
  /** 0 watches nothing. */
  readonly bytesPerS: number;
  readonly graceMs: number;
  /** Monotonic. */
  readonly nowMs: () => number;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Of what has come: since when it is counted, and where the count stood then. */
  readSinceMs: number;
  readBytes: number;
  /** Of what goes out: since when the same write has been under way, and what was flushed before it. */
  writeSinceMs: number | undefined;
  flushedBytes: number;
}

/**
 * Cuts clients that send or take a body so slowly that they only hold a connection. Counted is what the client has to
 * do alone: bytes that we have not read yet, or have not got to send, do not count against it. A body on its way in
 * must bring `bytesPerS` on average over `graceMs`; a write must be taken within `graceMs` and the time that its bytes
 * need at that rate.
 */
export class BodyProgress {
  readonly #options: BodyProgressOptions;
  readonly #exchanges = new Set<Exchange>();

  constructor(options: BodyProgressOptions) {
    this.#options = options;
  }

  watch(request: IncomingMessage, response: ServerResponse): void {
    if (this.#options.bytesPerS === 0) return;
    const exchange: Exchange = {
      request,
      response,
      readSinceMs: this.#options.nowMs(),
      readBytes: request.socket.bytesRead,
      writeSinceMs: undefined,
      flushedBytes: 0,
    };
    this.#exchanges.add(exchange);
    response.once('close', () => this.#exchanges.delete(exchange));
  }

  /** Looks at every exchange; to be called a few times in `graceMs`. @returns how many were cut. */
  sweep(): number {
    const now = this.#options.nowMs();
    let cut = 0;
    for (const exchange of this.#exchanges) {
      if (!this.#sendsTooSlowly(exchange, now) && !this.#takesTooSlowly(exchange, now)) continue;
      cut += 1;
      exchange.request.socket.destroy();
    }
    return cut;
  }

  #sendsTooSlowly(exchange: Exchange, now: number): boolean {
    const { request } = exchange;
    const { bytesPerS, graceMs } = this.#options;
    if (request.complete) return false;
    const { bytesRead } = request.socket;
    const elapsedMs = now - exchange.readSinceMs;
    const waitsForUs = request.readableLength > 0;
    if (!waitsForUs && elapsedMs < graceMs) return false;
    const slow = (bytesRead - exchange.readBytes) * 1000 < bytesPerS * elapsedMs;
    if (!waitsForUs && slow) return true;
    exchange.readSinceMs = now;
    exchange.readBytes = bytesRead;
    return false;
  }

  #takesTooSlowly(exchange: Exchange, now: number): boolean {
    const { socket } = exchange.request;
    const { bytesPerS, graceMs } = this.#options;
    const pendingBytes = socket.writableLength;
    const flushedBytes = socket.bytesWritten - pendingBytes;
    if (pendingBytes === 0) exchange.writeSinceMs = undefined;
    else if (exchange.writeSinceMs === undefined || flushedBytes !== exchange.flushedBytes) {
      exchange.writeSinceMs = now;
    }
    exchange.flushedBytes = flushedBytes;
    if (exchange.writeSinceMs === undefined) return false;
    return now - exchange.writeSinceMs > graceMs + (pendingBytes / bytesPerS) * 1000;
  }
}
