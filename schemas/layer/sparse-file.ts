import { LayerError } from './layer-error.ts';
import { LAYER_LIMIT } from './limits.ts';
import type { PaxRecords } from './pax.ts';
import { BLOCK_BYTES } from './tar-header.ts';
import { parsePaxInteger } from './tar-number.ts';

/** A run of a sparse file that holds data; all between is zeros. */
export interface SparseSegment {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** How an entry's data become the content of a sparse file. */
export interface SparseFile {
  /** Of the content. */
  readonly sizeBytes: number;
  /** Nothing when the map stands in front of the data (GNU sparse format 1.0). */
  readonly segments: readonly SparseSegment[] | undefined;
}

/**
 * GNU's sparse files in PAX headers, formats 0.0, 0.1 and 1.0, as Go's archive/tar reads them. (The older form,
 * entries of type S, containerd refuses.)
 *
 * @throws {LayerError}
 */
export function sparseFileOf(pax: PaxRecords | undefined): SparseFile | undefined {
  const text = (key: string): string => pax?.get(key)?.toString('latin1') ?? '';
  const version = `${text('GNU.sparse.major')}.${text('GNU.sparse.minor')}`;
  const map = text('GNU.sparse.map');
  const inData = version === '1.0';
  const inHeader = version === '0.0' || version === '0.1' || (version === '.' && map !== '');
  if (!inData && !inHeader) return undefined;
  const sizeBytes = parsePaxInteger(text('GNU.sparse.realsize') || text('GNU.sparse.size'));
  if (sizeBytes < 0) throw new LayerError('tar', 'a sparse file of negative size');
  if (sizeBytes > LAYER_LIMIT.sparseFileBytes)
    throw new LayerError('sparse', 'a sparse file that is too large');
  if (inData) return { sizeBytes, segments: undefined };
  const numbers = map === '' ? [] : map.split(',').map(parsePaxInteger);
  return { sizeBytes, segments: segmentsOf(numbers, sizeBytes) };
}

/** @throws {LayerError} `tar` unless they ascend, do not overlap, and lie within the file. */
function segmentsOf(numbers: readonly number[], sizeBytes: number): SparseSegment[] {
  if (numbers.length % 2 !== 0) throw new LayerError('tar', 'a sparse map with half an entry');
  const segments: SparseSegment[] = [];
  let end = 0;
  for (let i = 0; i < numbers.length; i += 2) {
    const offset = numbers[i] ?? 0;
    const lengthBytes = numbers[i + 1] ?? 0;
    if (offset < end || lengthBytes < 0 || offset + lengthBytes > sizeBytes) {
      throw new LayerError('tar', 'a sparse map that is out of order or out of the file');
    }
    segments.push({ offset, lengthBytes });
    end = offset + lengthBytes;
  }
  return segments;
}

/** Who hears a sparse file's content, in order. */
export interface SparseSink {
  data(bytes: Buffer): void;
  zeros(countBytes: number): void;
}

/** Turns the data of a sparse file's entry into its content, piece by piece. */
export class SparseExpander {
  readonly #file: SparseFile;
  readonly #sink: SparseSink;
  #segments: readonly SparseSegment[] | undefined;
  #map: Buffer = Buffer.alloc(0);
  #mapBytes = 0;
  #row = 0;
  #inRow = 0;
  #position = 0;

  constructor(file: SparseFile, sink: SparseSink) {
    this.#file = file;
    this.#sink = sink;
    this.#segments = file.segments;
  }

  /** @throws {LayerError} `tar` */
  push(bytes: Buffer): void {
    let data = bytes;
    if (this.#segments === undefined) {
      this.#map = Buffer.concat([this.#map, bytes]);
      if (this.#map.length > LAYER_LIMIT.specialEntryBytes) throw new LayerError('limit', 'a sparse map');
      this.#readMap();
      if (this.#segments === undefined) return;
      data = this.#map.subarray(this.#mapBytes);
    }
    while (data.length > 0) {
      const segment = this.#nextSegment();
      if (segment === undefined)
        throw new LayerError('tar', 'a sparse file with more data than its map says');
      this.#fillTo(segment.offset);
      const piece = data.subarray(0, segment.lengthBytes - this.#inRow);
      this.#sink.data(piece);
      this.#inRow += piece.length;
      this.#position += piece.length;
      data = data.subarray(piece.length);
    }
  }

  /** @throws {LayerError} `tar` when data are missing. */
  end(): void {
    if (this.#segments === undefined || this.#nextSegment() !== undefined) {
      throw new LayerError('tar', 'a sparse file with less data than its map says');
    }
    this.#fillTo(this.#file.sizeBytes);
  }

  /** The segment that the next byte belongs to. */
  #nextSegment(): SparseSegment | undefined {
    for (;;) {
      const segment = this.#segments?.[this.#row];
      if (segment === undefined || this.#inRow < segment.lengthBytes) return segment;
      this.#row += 1;
      this.#inRow = 0;
    }
  }

  #fillTo(offset: number): void {
    if (this.#inRow > 0 || offset <= this.#position) return;
    this.#sink.zeros(offset - this.#position);
    this.#position = offset;
  }

  /** Decimal numbers, a line each: how many segments, then offset and length of each; padded to a block. */
  #readMap(): void {
    const lines = this.#map.toString('latin1').split('\n');
    const complete = lines.slice(0, -1);
    const count = complete[0] === undefined ? undefined : parsePaxInteger(complete[0]);
    if (count === undefined) return;
    if (count < 0) throw new LayerError('tar', 'a sparse map of negative length');
    const needed = 1 + 2 * count;
    if (complete.length < needed) return;
    const wanted = complete.slice(0, needed);
    const textBytes = wanted.reduce((sum, line) => sum + line.length + 1, 0);
    this.#mapBytes = Math.ceil(textBytes / BLOCK_BYTES) * BLOCK_BYTES;
    if (this.#map.length < this.#mapBytes) return;
    this.#segments = segmentsOf(wanted.slice(1).map(parsePaxInteger), this.#file.sizeBytes);
  }
}
