import type { TarEntry } from './tar-entry.ts';
import type { TarSink } from './tar-parser.ts';

/** How a tar stream is cut into gzip members. */
export interface Framing {
  /** A content of at least so many bytes has members of its own, which nothing else is in. */
  readonly ownMemberBytes: number;
  /** Smaller ones share a member, with the headers between them, until it holds so much. */
  readonly groupBytes: number;
  /** A content is cut into members of so much, for bounded memory and use of several cores. */
  readonly chunkBytes: number;
}

/** Chosen by measurement: see README.md, "Framing". */
export const DEFAULT_FRAMING: Framing = {
  ownMemberBytes: 32 * 1024,
  groupBytes: 128 * 1024,
  chunkBytes: 4 * 1024 * 1024,
};

/** Follows a tar stream and cuts it into the parts that become a gzip member each. */
export class MemberPlanner implements TarSink {
  readonly #framing: Framing;
  #pieces: Buffer[] = [];
  #sizeBytes = 0;
  #holdsContent = false;
  #own = false;
  #remainingBytes = 0;
  #planned: Buffer[] = [];

  constructor(framing: Framing) {
    this.#framing = framing;
  }

  meta(bytes: Buffer): void {
    const limit = this.#holdsContent ? this.#framing.groupBytes : this.#framing.chunkBytes;
    this.#append(bytes, limit);
  }

  entry(entry: TarEntry): void {
    const { sizeBytes } = entry;
    if (sizeBytes === 0) return;
    this.#own = sizeBytes >= this.#framing.ownMemberBytes;
    this.#remainingBytes = sizeBytes;
    if (this.#own || this.#sizeBytes + sizeBytes > this.#framing.groupBytes) this.#cut();
    this.#holdsContent = true;
  }

  content(bytes: Buffer): void {
    this.#append(bytes, this.#framing.chunkBytes);
    this.#remainingBytes -= bytes.length;
    if (this.#remainingBytes === 0 && this.#own) this.#cut();
  }

  /** Cuts what is left: the stream has ended. */
  end(): void {
    this.#cut();
  }

  /** The parts that are complete, each given once. */
  take(): Buffer[] {
    return this.#planned.splice(0);
  }

  #append(bytes: Buffer, limitBytes: number): void {
    let at = 0;
    while (at < bytes.length) {
      const piece = bytes.subarray(at, at + Math.max(limitBytes - this.#sizeBytes, 0));
      this.#pieces.push(piece);
      this.#sizeBytes += piece.length;
      at += piece.length;
      if (this.#sizeBytes >= limitBytes) this.#cut(this.#remainingBytes - at > 0);
    }
  }

  #cut(holdsContent = false): void {
    if (this.#sizeBytes > 0) this.#planned.push(Buffer.concat(this.#pieces));
    this.#pieces = [];
    this.#sizeBytes = 0;
    this.#holdsContent = holdsContent;
  }
}
