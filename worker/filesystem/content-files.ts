import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { isMissing } from '../../schemas/process/system-error.ts';
import { FileSystemError } from './error.ts';

/** Default for how many content files one mounted tree keeps open. */
export const OPEN_CONTENTS_LIMIT = 512;
/** Raw bytes of a sha256. */
const DIGEST_BYTES = 32;
const CLOSED = -1;

/** The path of a complete content below `directory`; `digests` is a table of raw sha256, 32 bytes a row. */
export function contentPath(directory: string, digests: Uint8Array, content: number): string {
  const at = digests.byteOffset + content * DIGEST_BYTES;
  const hex = Buffer.from(digests.buffer, at, DIGEST_BYTES).toString('hex');
  return `${directory}/${hex.slice(0, 2)}/${hex.slice(2)}`;
}

/** The columns of a tree that say what its contents are; see schemas/toc. */
export interface ContentColumns {
  readonly contentCount: number;
  /** 32 raw bytes a row. */
  readonly contentDigest: Uint8Array;
  readonly contentSize: Float64Array;
}

/**
 * Descriptors of complete content files, opened when first asked for, at most `limit` of them at a time.
 * Contents never change, hence a kept descriptor is never stale. Eviction is by the clock algorithm over two
 * typed arrays: a JavaScript Map kept in order of use costs more than the read itself.
 *
 * Memory: 5 bytes per content of the tree and 4 per slot. Not for use by several threads.
 */
export class ContentFiles {
  readonly #directory: string;
  readonly #columns: ContentColumns;
  /** Per content: its open descriptor, or CLOSED. */
  readonly #descriptor: Int32Array;
  /** Per content: used since the hand last passed. */
  readonly #used: Uint8Array;
  /** Per slot: the content whose descriptor it holds. */
  readonly #ring: Int32Array;
  #hand = 0;

  constructor(directory: string, columns: ContentColumns, limit: number = OPEN_CONTENTS_LIMIT) {
    this.#directory = directory;
    this.#columns = columns;
    this.#descriptor = new Int32Array(columns.contentCount).fill(CLOSED);
    this.#used = new Uint8Array(columns.contentCount);
    this.#ring = new Int32Array(Math.max(1, limit)).fill(CLOSED);
  }

  /**
   * The descriptor of a content, valid until the next call; -1 when the content is not there yet.
   * @throws {FileSystemError} `content-size` when the file is there with another size
   * @throws an error of node:fs when the file cannot be opened for another reason than being absent
   */
  open(content: number): number {
    const known = this.#descriptor[content] ?? CLOSED;
    if (known !== CLOSED) {
      this.#used[content] = 1;
      return known;
    }
    const path = contentPath(this.#directory, this.#columns.contentDigest, content);
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      if (isMissing(error)) return CLOSED;
      throw error;
    }
    const expectedBytes = this.#columns.contentSize[content] ?? 0;
    if (fstatSync(fd).size !== expectedBytes) {
      closeSync(fd);
      throw new FileSystemError({ kind: 'content-size', path, expectedBytes });
    }
    this.#keep(content, fd);
    return fd;
  }

  /** Reads up to `length` bytes at `position` of an open content; fewer only at its end. */
  read(fd: number, target: Uint8Array, offset: number, length: number, position: number): number {
    let done = 0;
    while (done < length) {
      const count = readSync(fd, target, offset + done, length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  /** Closes every descriptor. The table may be used again afterwards. */
  close(): void {
    for (let slot = 0; slot < this.#ring.length; slot++) this.#evict(slot);
  }

  #keep(content: number, fd: number): void {
    const ring = this.#ring;
    for (;;) {
      const held = ring[this.#hand] ?? CLOSED;
      if (held === CLOSED) break;
      if (this.#used[held] === 0) {
        this.#evict(this.#hand);
        break;
      }
      this.#used[held] = 0;
      this.#hand = (this.#hand + 1) % ring.length;
    }
    ring[this.#hand] = content;
    this.#hand = (this.#hand + 1) % ring.length;
    this.#descriptor[content] = fd;
    this.#used[content] = 1;
  }

  #evict(slot: number): void {
    const content = this.#ring[slot] ?? CLOSED;
    if (content === CLOSED) return;
    closeSync(this.#descriptor[content] ?? CLOSED);
    this.#descriptor[content] = CLOSED;
    this.#ring[slot] = CLOSED;
  }
}
