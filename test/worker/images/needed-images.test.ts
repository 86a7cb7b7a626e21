import assert from 'node:assert/strict';
import type { ChainId } from '../../../schemas/oci/chain-id.ts';
import { divideImages } from '../../../worker/images/needed-images.ts';

/** An image is written as its chains, the lowest first. */
const image = (chains: string) => ({ chains, layers: [...chains].map((c) => ({ chainId: c as ChainId })) });

describe('divideImages()', () => {
  const rows: readonly (readonly [string, string[], string, string[], string[]])[] = [
    ['no images', [], 'a', [], []],
    ['nothing live', ['ab', 'c'], '', [], []],
    ['an image with its topmost layer', ['ab', 'c'], 'b', [], ['ab']],
    ['a lower layer of one image', ['abc'], 'b', [], ['abc']],
    ['a lower layer of two: the first of them', ['abc', 'abd'], 'b', [], ['abc']],
    ['a lower layer that a needed image has', ['abc', 'abd'], 'bd', [], ['abd']],
    ['an image held', ['ab', 'c'], '', ['c'], ['c']],
    ['an image held that covers a live layer of another', ['abc', 'abd'], 'a', ['abd'], ['abd']],
    ['an image without layers', [''], 'a', [], []],
    ['chains of no image', ['ab'], 'xyz', [], []],
  ];
  for (const [what, images, live, held, needed] of rows) {
    it(`needs, with ${what}: ${needed.join(', ') || 'none'}`, () => {
      const divided = divideImages(
        images.map(image),
        new Set([...live] as ChainId[]), // letters stand for chains
        ({ chains }) => held.includes(chains),
      );
      assert.deepEqual(
        divided.needed.map(({ chains }) => chains),
        needed,
      );
      assert.deepEqual(
        divided.unneeded.map(({ chains }) => chains),
        images.filter((one) => !needed.includes(one)),
      );
    });
  }
});
