import { compareBytes } from '../../../schemas/toc/compare-bytes.ts';
import type { Placement } from './consolidate.ts';
import { type Missing, NOT_MISSING } from './difference.ts';
import type { WantedImage } from './image.ts';
import { averageRanks } from './ranks.ts';

/** Sizes from which a file that nobody has traced comes after the smaller ones of its kind. */
const SIZE_STEPS_BYTES = [64 * 1024, 1024 * 1024, 16 * 1024 * 1024] as const;
const LARGEST_KIND = 255;

/**
 * The rows of the missing contents in the order in which they are to be sent. First what was opened in
 * traces, by average place, ties by digest. Then what is known to be opened at the start, in that order; of
 * several images the first of each, then the second of each. Then the rest: by how likely it is wanted at the
 * start, small before large, and as it lies in the layers.
 *
 * @param words of each image, the digests of the contents of its layers
 */
export function order(
  missing: Missing,
  placement: Placement,
  images: readonly WantedImage[],
  words: readonly Int32Array[],
): Uint32Array {
  const rank = new Float64Array(missing.count).fill(Number.POSITIVE_INFINITY);
  const kind = new Uint8Array(missing.count).fill(LARGEST_KIND);
  /** Where the digest of a traced one stands. */
  const inImage = new Uint16Array(missing.count);
  const atContent = new Uint32Array(missing.count);
  /** Place in the order of starting. */
  const place = new Uint32Array(missing.count).fill(NO_PLACE);
  for (const [image, { shown, start, ranks }] of images.entries()) {
    const rows = missing.rows[image] ?? new Uint32Array(0);
    const average = averageRanks(shown.content.length, ranks);
    for (let content = 0; content < rows.length; content += 1) {
      const row = rows[content] ?? NOT_MISSING;
      if (row === NOT_MISSING) continue;
      kind[row] = Math.min(kind[row] ?? 0, shown.likely[content] ?? 0);
      const one = average[content] ?? Number.POSITIVE_INFINITY;
      if (one >= (rank[row] ?? 0)) continue;
      rank[row] = one;
      inImage[row] = image;
      atContent[row] = shown.content[content] ?? 0;
    }
    for (const [at, content] of start.entries()) {
      const row = rows[content] ?? NOT_MISSING;
      if (row !== NOT_MISSING) place[row] = Math.min(place[row] ?? NO_PLACE, at * images.length + image);
    }
  }
  const digests = words.map((one) => new Uint8Array(one.buffer, one.byteOffset, one.byteLength));
  const digestOrder = (a: number, b: number): number => {
    const [left, right] = [digests[inImage[a] ?? 0], digests[inImage[b] ?? 0]];
    if (left === undefined || right === undefined) return 0;
    const [from, to] = [(atContent[a] ?? 0) * 32, (atContent[b] ?? 0) * 32];
    return compareBytes(left, from, from + 32, right, to, to + 32);
  };
  const traced: number[] = [];
  const starting: number[] = [];
  for (let row = 0; row < rank.length; row += 1) {
    if (rank[row] !== Number.POSITIVE_INFINITY) traced.push(row);
    else if (place[row] !== NO_PLACE) starting.push(row);
  }
  traced.sort((a, b) => (rank[a] ?? 0) - (rank[b] ?? 0) || digestOrder(a, b));
  starting.sort((a, b) => (place[a] ?? 0) - (place[b] ?? 0));
  const first = [...traced, ...starting];
  const rest = new Uint8Array(missing.count).fill(1);
  for (const row of first) rest[row] = 0;
  const out = new Uint32Array(missing.count);
  out.set(first);
  out.set(unknown(rest, kind, placement), first.length);
  return out;
}

const NO_PLACE = 0xffffffff;

/** The rows of `rest` that are 1. Sorted as numbers, whose highest bits are kind and size, whose lowest the place. */
function unknown(rest: Uint8Array, kind: Uint8Array, placement: Placement): Uint32Array {
  const keys = new Float64Array(rest.length);
  let highest = 0;
  let count = 0;
  for (let row = 0; row < rest.length; row += 1) {
    if (rest[row] === 0) continue;
    const content = placement.content[row] ?? 0;
    const group = (kind[row] ?? 0) * SIZE_STEPS + sizeStep(placement.sizeBytes[row] ?? 0);
    keys[count] = group * 2 ** 32 + content;
    highest = Math.max(highest, content);
    count += 1;
  }
  const rowOf = new Uint32Array(highest + 1);
  for (let row = 0; row < rest.length; row += 1) {
    if (rest[row] === 1) rowOf[placement.content[row] ?? 0] = row;
  }
  const sorted = keys.subarray(0, count).sort();
  const rows = new Uint32Array(count);
  for (let i = 0; i < count; i += 1) rows[i] = rowOf[(sorted[i] ?? 0) % 2 ** 32] ?? 0;
  return rows;
}

const SIZE_STEPS = SIZE_STEPS_BYTES.length + 1;

function sizeStep(sizeBytes: number): number {
  let step = 0;
  for (const bytes of SIZE_STEPS_BYTES) if (sizeBytes >= bytes) step += 1;
  return step;
}
