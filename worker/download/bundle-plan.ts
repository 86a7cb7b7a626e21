import { type BundleHeader, PAYLOAD_ENCODING } from '../../schemas/bundle/header.ts';
import type { ContentLocator, ContentRow } from '../images/content-locator.ts';
import { DownloadError } from './download-error.ts';
import type { PayloadEncoding, PayloadItem } from './payload.ts';

const NOWHERE = 0xffffffff;

/**
 * Which payload of a bundle carries which contents, and where in the bundle each payload lies. Columns: 16 bytes
 * per payload, 16 per file and 4 per content of the image.
 */
export class BundlePlan {
  readonly payloadCount: number;
  /** Where the bundle ends. */
  readonly endPosition: number;
  readonly #locator: ContentLocator;
  readonly #header: BundleHeader;
  readonly #position: Float64Array;
  /** Files sorted by payload: those of payload p are `#file[#firstFile[p] .. #firstFile[p + 1]]`. */
  readonly #firstFile: Uint32Array;
  readonly #file: Uint32Array;
  /** Per content of the image: its payload. */
  readonly #payloadOf: Uint32Array;

  /**
   * @param start where the payloads begin
   * @throws {DownloadError} `malformed` when it names contents that the image does not have.
   */
  constructor(header: BundleHeader, start: number, locator: ContentLocator) {
    const { files, payloads } = header;
    this.#header = header;
    this.#locator = locator;
    this.payloadCount = payloads.length.length;
    this.#position = new Float64Array(this.payloadCount + 1);
    this.#position[0] = start;
    for (const [payload, length] of payloads.length.entries()) {
      this.#position[payload + 1] = (this.#position[payload] ?? 0) + length;
    }
    this.endPosition = this.#position[this.payloadCount] ?? start;
    this.#firstFile = new Uint32Array(this.payloadCount + 1);
    for (const payload of files.payload)
      this.#firstFile[payload + 1] = (this.#firstFile[payload + 1] ?? 0) + 1;
    for (let payload = 0; payload < this.payloadCount; payload += 1) {
      this.#firstFile[payload + 1] = (this.#firstFile[payload + 1] ?? 0) + (this.#firstFile[payload] ?? 0);
    }
    const next = this.#firstFile.slice();
    this.#file = new Uint32Array(files.content.length);
    this.#payloadOf = new Uint32Array(locator.rowCount).fill(NOWHERE);
    for (const [file, payload] of files.payload.entries()) {
      const at = next[payload] ?? 0;
      this.#file[at] = file;
      next[payload] = at + 1;
      this.#payloadOf[this.#rowOf(file)] = payload;
    }
  }

  positionOf(payload: number): number {
    return this.#position[payload] ?? this.endPosition;
  }

  lengthOf(payload: number): number {
    return this.positionOf(payload + 1) - this.positionOf(payload);
  }

  /** undefined for an encoding that this worker cannot undo. */
  encodingOf(payload: number): PayloadEncoding | undefined {
    switch (this.#header.payloads.encoding[payload]) {
      case PAYLOAD_ENCODING.gzipMember:
        return 'gzip-member';
      case PAYLOAD_ENCODING.zstd:
        return 'zstd';
      default:
        return undefined;
    }
  }

  /** The rows of the contents that a payload carries. */
  *rowsOf(payload: number): Generator<ContentRow> {
    for (let at = this.#firstFile[payload] ?? 0; at < (this.#firstFile[payload + 1] ?? 0); at += 1) {
      yield this.#rowOf(this.#file[at] ?? 0);
    }
  }

  /** The contents that a payload carries: digest and size as verified, the place as claimed. */
  itemsOf(payload: number): PayloadItem[] {
    const items: PayloadItem[] = [];
    for (let at = this.#firstFile[payload] ?? 0; at < (this.#firstFile[payload + 1] ?? 0); at += 1) {
      const file = this.#file[at] ?? 0;
      const row = this.#rowOf(file);
      items.push({
        digest: this.#locator.digestOf(row),
        sizeBytes: this.#locator.sizeBytesOf(row),
        innerOffset: this.#header.files.innerOffset[file] ?? 0,
      });
    }
    return items;
  }

  /** The payload that carries a content, or undefined when none does. */
  payloadOf(row: ContentRow): number | undefined {
    const payload = this.#payloadOf[row] ?? NOWHERE;
    return payload === NOWHERE ? undefined : payload;
  }

  /** The one row by which the worker knows the content, whichever of its layers' rows the file names. */
  #rowOf(file: number): ContentRow {
    const named = this.#header.files.content[file] ?? 0;
    if (named >= this.#locator.rowCount) {
      throw new DownloadError('malformed', `the bundle names content ${named} of ${this.#locator.rowCount}`);
    }
    return this.#locator.canonical(named as ContentRow); // checked just above
  }
}
