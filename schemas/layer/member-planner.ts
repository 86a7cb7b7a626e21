import { HIDDEN_DATA_BYTES, HIDDEN_ZERO_BYTES } from './hidden-members.ts';
import { SparseExpander, type SparseSink } from './sparse-file.ts';
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

/** A part of the stream that becomes a gzip member; or of a sparse file's content, hidden behind it. */
export type PlannedPart =
  | { readonly kind: 'member'; readonly bytes: Buffer }
  | { readonly kind: 'hidden'; readonly bytes: Buffer }
  | { readonly kind: 'hidden-zeros'; readonly countBytes: number }
  /** All hidden parts of a file have been given. */
  | { readonly kind: 'hidden-end' };

/** Follows a tar stream and cuts it into the parts that become a gzip member each. */
export class MemberPlanner implements TarSink, SparseSink {
  readonly #framing: Framing;
  #pieces: Buffer[] = [];
  #sizeBytes = 0;
  #holdsContent = false;
  #own = false;
  #remainingBytes = 0;
  #planned: PlannedPart[] = [];
  #expander: SparseExpander | undefined;
  #hidden: Buffer[] = [];
  #hiddenBytes = 0;

  constructor(framing: Framing) {
    this.#framing = framing;
  }

  meta(bytes: Buffer): void {
    const limit = this.#holdsContent ? this.#framing.groupBytes : this.#framing.chunkBytes;
    this.#append(bytes, limit);
  }

  entry(entry: TarEntry): void {
    const { sizeBytes, sparse } = entry;
    if (sizeBytes === 0) {
      // A file that is one hole has no data at all.
      if (sparse !== undefined) {
        this.#cut();
        this.#endSparse(new SparseExpander(sparse, this));
      }
      return;
    }
    this.#expander = sparse === undefined ? undefined : new SparseExpander(sparse, this);
    this.#own = sizeBytes >= this.#framing.ownMemberBytes || sparse !== undefined;
    this.#remainingBytes = sizeBytes;
    if (this.#own || this.#sizeBytes + sizeBytes > this.#framing.groupBytes) this.#cut();
    this.#holdsContent = true;
  }

  content(bytes: Buffer): void {
    this.#append(bytes, this.#framing.chunkBytes);
    this.#remainingBytes -= bytes.length;
    this.#expander?.push(bytes);
    if (this.#remainingBytes === 0 && this.#own) this.#cut();
    if (this.#remainingBytes === 0 && this.#expander !== undefined) this.#endSparse(this.#expander);
  }

  /** Of a sparse file's content. */
  data(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + HIDDEN_DATA_BYTES - this.#hiddenBytes);
      this.#hidden.push(piece);
      this.#hiddenBytes += piece.length;
      at += piece.length;
      if (this.#hiddenBytes === HIDDEN_DATA_BYTES) this.#cutHidden();
    }
  }

  /** Of a sparse file's content. */
  zeros(countBytes: number): void {
    this.#cutHidden();
    for (let rest = countBytes; rest > 0; rest -= HIDDEN_ZERO_BYTES) {
      this.#planned.push({ kind: 'hidden-zeros', countBytes: Math.min(rest, HIDDEN_ZERO_BYTES) });
    }
  }

  /** Cuts what is left: the stream has ended. */
  end(): void {
    this.#cut();
  }

  /** The parts that are complete, each given once. */
  take(): PlannedPart[] {
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
    if (this.#sizeBytes > 0) this.#planned.push({ kind: 'member', bytes: Buffer.concat(this.#pieces) });
    this.#pieces = [];
    this.#sizeBytes = 0;
    this.#holdsContent = holdsContent;
  }

  #cutHidden(): void {
    if (this.#hiddenBytes > 0) this.#planned.push({ kind: 'hidden', bytes: Buffer.concat(this.#hidden) });
    this.#hidden = [];
    this.#hiddenBytes = 0;
  }

  #endSparse(expander: SparseExpander): void {
    expander.end();
    this.#cutHidden();
    this.#planned.push({ kind: 'hidden-end' });
    this.#expander = undefined;
  }
}
