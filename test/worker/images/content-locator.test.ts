import assert from 'node:assert/strict';
import { ContentLocator } from '../../../worker/images/content-locator.ts';
import { layerOf } from '../../support/toc-entries.ts';

const layers = [
  layerOf([
    ['file', 'a', { content: 'one' }],
    ['file', 'b', { content: 'two' }],
  ]),
  layerOf([]),
  layerOf([
    ['file', 'c', { content: 'two' }],
    ['file', 'd', { content: 'three' }],
  ]),
];

describe('ContentLocator', () => {
  const locator = new ContentLocator(layers);

  for (const [number, layer] of layers.entries()) {
    for (let at = 0; at < layer.contentCount; at += 1) {
      it(`rowAt() is what find() gives: layer ${number}, content ${at}`, () => {
        const row = locator.rowAt(number, at);
        assert.equal(row, locator.find(layer.digestOfContent(at)));
        assert.equal(locator.digestOf(row), layer.digestOfContent(at));
      });
    }
  }

  const NONE: readonly (readonly [layer: number, at: number])[] = [
    [0, 2],
    [1, 0],
    [2, 2],
    [3, 0],
    [-1, 0],
  ];
  for (const [layer, at] of NONE) {
    it(`rowAt() refuses content ${at} of layer ${layer}`, () => {
      assert.throws(() => locator.rowAt(layer, at), RangeError);
    });
  }
});
