import assert from 'node:assert/strict';
import {
  decodeStartOrder,
  encodeStartOrder,
  MAX_START,
  startOrder,
} from '../../../../extensions/starlight/optimizer/start-order.ts';
import { mergeLayers } from '../../../../schemas/toc/merge.ts';
import { randomly } from '../../../support/randomly.ts';
import { layerOf } from '../../../support/toc-entries.ts';

describe('startOrder()', () => {
  it('has each content once, at its first place, and nothing for what has none', () => {
    const tree = mergeLayers([
      layerOf([
        ['file', 'a', { content: '1' }],
        ['file', 'b', { content: '2' }],
        ['file', 'c', { content: '1' }],
        ['file', 'empty'],
        ['directory', 'd'],
      ]),
    ]);
    const inodes = ['b', 'd', 'empty', 'c', 'b', 'a'].map((path) => tree.resolve(path));
    const contents = ['b', 'a'].map((path) => tree.content[tree.resolve(path)]);
    assert.deepEqual([...startOrder(tree, [...inodes, -1, 99_999])], contents);
  });
});

describe('decodeStartOrder()', () => {
  const order = Uint32Array.of(70_000, 0, 500, 3);
  const bytes = encodeStartOrder(order);

  it('gives back what encodeStartOrder() took', () => {
    assert.deepEqual(decodeStartOrder(bytes, 70_001), order);
    assert.deepEqual(decodeStartOrder(encodeStartOrder(new Uint32Array(0)), 0), new Uint32Array(0));
  });

  const REFUSED: readonly (readonly [what: string, bytes: Uint8Array, shownCount: number])[] = [
    ['a content that the image does not show', bytes, 70_000],
    ['an image that shows nothing', bytes, 0],
    ['another version', Uint8Array.of(2, ...bytes.subarray(1)), 70_001],
    ['a content that comes twice', Uint8Array.of(1, 2, 5, 5), 70_001],
    ['bytes after the end', Uint8Array.of(...bytes, 0), 70_001],
    ['more rows than bytes', Uint8Array.of(1, 127, 0, 0), 70_001],
    [
      'more rows than the limit',
      encodeStartOrder(Uint32Array.from({ length: MAX_START + 1 }, (_, n) => n)),
      70_001,
    ],
    ['nothing', new Uint8Array(0), 70_001],
  ];
  for (const [what, bad, shownCount] of REFUSED) {
    it(`refuses ${what}`, () => assert.throws(() => decodeStartOrder(bad, shownCount), RangeError));
  }

  it('answers truncation and damage with its own error or contents within bounds', () => {
    const random = randomly(5);
    const bad = [
      ...Array.from(bytes, (_, length) => bytes.subarray(0, length)),
      ...Array.from({ length: 2000 }, () => random.damaged(bytes)),
    ];
    for (const one of bad) {
      try {
        assert.ok(decodeStartOrder(one, 70_001).every((row) => row < 70_001));
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }
  });
});
