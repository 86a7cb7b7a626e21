import type { Missing } from './difference.ts';
import type { WantedImage } from './image.ts';

/** Where each missing content is to be taken from: columns by its row in `Missing`. */
export interface Placement {
  /** Row in the concatenation of the contents of all layers of all images. */
  readonly content: Uint32Array;
  /** Number of the layer in the concatenation of all images' layers. */
  readonly layer: Uint32Array;
  /** Row of the payload in that layer. */
  readonly payload: Uint32Array;
  readonly innerOffset: Float64Array;
  readonly sizeBytes: Float64Array;
}

/**
 * Chooses for every missing content the shortest payload, over all layers of all images, that carries it; of
 * equals the first.
 *
 * @param words of each image, the digests of the contents of its layers
 */
export function consolidate(
  missing: Missing,
  images: readonly WantedImage[],
  words: readonly Int32Array[],
): Placement {
  const { count, index } = missing;
  const content = new Uint32Array(count);
  const layer = new Uint32Array(count);
  const payload = new Uint32Array(count);
  const innerOffset = new Float64Array(count);
  const sizeBytes = new Float64Array(count);
  const cost = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  let layerNumber = 0;
  let firstContent = 0;
  const layers = images.flatMap((image, number) => {
    let first = 0;
    return image.layers.map((one) => {
      const at = first;
      first += one.contents.sizeBytes.length;
      return { ...one, words: words[number] ?? NO_WORDS, first: at };
    });
  });
  for (const { contents, payloads, words: digests, first } of layers) {
    const rows = contents.sizeBytes.length;
    for (let row = 0; row < rows; row += 1) {
      const one = index.find(digests, first + row);
      const carrier = contents.payload[row] ?? 0;
      const length = payloads.length[carrier] ?? 0;
      if (one < 0 || length >= (cost[one] ?? 0)) continue;
      cost[one] = length;
      content[one] = firstContent + row;
      layer[one] = layerNumber;
      payload[one] = carrier;
      innerOffset[one] = contents.innerOffset[row] ?? 0;
      sizeBytes[one] = contents.sizeBytes[row] ?? 0;
    }
    layerNumber += 1;
    firstContent += rows;
  }
  return { content, layer, payload, innerOffset, sizeBytes };
}

const NO_WORDS = new Int32Array(0);
