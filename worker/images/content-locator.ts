import { type Digest, digestAt, digestHex } from '../../schemas/oci/digest.ts';
import type { LayerToc } from '../../schemas/toc/layer-toc.ts';

/** Row in the concatenation of the content tables of an image's layers, the lowest first. */
export type ContentRow = number & { readonly __brand: 'ContentRow' };

/** Where a content lies in the registry: a byte range of a layer blob, and a place in what that holds. */
export type ContentPlace = {
  readonly layer: number;
  readonly payloadOffset: number;
  readonly payloadLength: number;
  readonly innerOffset: number;
  readonly sizeBytes: number;
};

const EMPTY = 0xffffffff;

/**
 * Finds the contents of an image by digest: an open-addressing table of row numbers, 8 to 16 bytes per content
 * beside the tables of contents themselves. Of a content in several layers it knows the lowest.
 */
export class ContentLocator {
  readonly #layers: readonly LayerToc[];
  readonly #firstRow: readonly number[];
  readonly #slots: Uint32Array;
  readonly rowCount: number;

  constructor(layers: readonly LayerToc[]) {
    this.#layers = layers;
    const firstRow: number[] = [];
    let rows = 0;
    for (const layer of layers) {
      firstRow.push(rows);
      rows += layer.contentCount;
    }
    this.#firstRow = firstRow;
    this.rowCount = rows;
    this.#slots = new Uint32Array(2 ** Math.ceil(Math.log2(Math.max(2, rows * 2)))).fill(EMPTY);
    for (let row = 0; row < rows; row += 1) this.#insert(row as ContentRow); // counted up to the end
  }

  /** The row of a content, or undefined when no layer has it. */
  find(digest: Digest): ContentRow | undefined {
    const bytes = Buffer.from(digestHex(digest), 'hex');
    const slot = this.#slots[this.#slotOf(bytes, 0)] ?? EMPTY;
    return slot === EMPTY ? undefined : (slot as ContentRow); // only rows are put in
  }

  /** The row that {@link find} gives for the digest of `row`: another one where several layers have it. */
  canonical(row: ContentRow): ContentRow {
    const { toc, at } = this.#locate(row);
    const slot = this.#slots[this.#slotOf(toc.contents.digest, at * 32)] ?? EMPTY;
    return slot === EMPTY ? row : (slot as ContentRow); // every row was put in, so it is one
  }

  /**
   * The row of a content by its place in the table of a layer, as {@link find} gives it for its digest.
   * @throws {RangeError} where there is no such content.
   */
  rowAt(layer: number, at: number): ContentRow {
    if (at >= (this.#layers[layer]?.contentCount ?? 0)) {
      throw new RangeError(`layer ${layer} has no content ${at}`);
    }
    return this.canonical(((this.#firstRow[layer] ?? 0) + at) as ContentRow); // checked just above
  }

  digestOf(row: ContentRow): Digest {
    const { toc, at } = this.#locate(row);
    return digestAt(toc.contents.digest, at);
  }

  sizeBytesOf(row: ContentRow): number {
    const { toc, at } = this.#locate(row);
    return toc.contents.sizeBytes[at] ?? 0;
  }

  placeOf(row: ContentRow): ContentPlace {
    const { toc, at, layer } = this.#locate(row);
    const payload = toc.contents.payload[at] ?? 0;
    return {
      layer,
      payloadOffset: toc.payloads.offset[payload] ?? 0,
      payloadLength: toc.payloads.length[payload] ?? 0,
      innerOffset: toc.contents.innerOffset[at] ?? 0,
      sizeBytes: toc.contents.sizeBytes[at] ?? 0,
    };
  }

  #locate(row: ContentRow): { toc: LayerToc; at: number; layer: number } {
    let low = 0;
    let high = this.#firstRow.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#firstRow[middle] ?? 0) <= row) low = middle;
      else high = middle - 1;
    }
    const toc = this.#layers[low];
    if (toc === undefined || row >= this.rowCount) throw new RangeError(`no content ${row}`);
    return { toc, at: row - (this.#firstRow[low] ?? 0), layer: low };
  }

  #insert(row: ContentRow): void {
    const { toc, at } = this.#locate(row);
    const slot = this.#slotOf(toc.contents.digest, at * 32);
    if (this.#slots[slot] === EMPTY) this.#slots[slot] = row;
  }

  /** The slot of the digest at `bytes[offset]`: its own, or the empty one where it would go. */
  #slotOf(bytes: Uint8Array, offset: number): number {
    const mask = this.#slots.length - 1;
    const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 32);
    for (let slot = view.getUint32(0, true) & mask; ; slot = (slot + 1) & mask) {
      const row = this.#slots[slot] ?? EMPTY;
      if (row === EMPTY || this.#sameDigest(row as ContentRow, bytes, offset)) return slot; // only rows are put in
    }
  }

  #sameDigest(row: ContentRow, bytes: Uint8Array, offset: number): boolean {
    const { toc, at } = this.#locate(row);
    const table = toc.contents.digest;
    return Buffer.compare(table.subarray(at * 32, at * 32 + 32), bytes.subarray(offset, offset + 32)) === 0;
  }
}
