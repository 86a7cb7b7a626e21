import { digestWords } from '../../../schemas/toc/digest-index.ts';
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
 */
export function consolidate(missing: Missing, images: readonly WantedImage[]): Placement {
  const { count, index } = missing;
  const content = new Uint32Array(count);
  const layer = new Uint32Array(count);
  const payload = new Uint32Array(count);
  const innerOffset = new Float64Array(count);
  const sizeBytes = new Float64Array(count);
  const cost = new Float64Array(count).fill(Number.POSITIVE_INFINITY);
  let layerNumber = 0;
  let firstContent = 0;
  for (const toc of images.flatMap((image) => image.layers)) {
    const { contents, payloads } = toc;
    const words = digestWords(contents.digest);
    for (let row = 0; row < toc.contentCount; row += 1) {
      const one = index.find(words, row);
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
    firstContent += toc.contentCount;
  }
  return { content, layer, payload, innerOffset, sizeBytes };
}
