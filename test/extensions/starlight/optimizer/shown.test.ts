import assert from 'node:assert/strict';
import { LIKELY } from '../../../../extensions/starlight/optimizer/likely-start.ts';
import {
  decodeShown,
  encodeShown,
  type ShownContents,
  shownContents,
} from '../../../../extensions/starlight/optimizer/shown.ts';
import { digestAt } from '../../../../schemas/oci/digest.ts';
import { mergeLayers } from '../../../../schemas/toc/merge.ts';
import { randomly } from '../../../support/randomly.ts';
import { type LayerEntry, layerOf } from '../../../support/toc-entries.ts';

const file = (path: string, content: string): LayerEntry => ['file', path, { content }];
const { command, library, rest, documents } = LIKELY;

const CASES: readonly (readonly [
  what: string,
  layers: readonly (readonly LayerEntry[])[],
  expected: Readonly<Record<string, number>>,
])[] = [
  ['nothing of an empty image', [[]], {}],
  ['each content once', [[file('a', '1'), file('b', '1')], [file('c', '1')]], { 1: rest }],
  ['nothing that an upper layer hides', [[file('a', '1'), file('b', '2')], [['whiteout', 'a']]], { 2: rest }],
  ['nothing that an upper layer replaces', [[file('a', '1')], [file('a', '2')]], { 2: rest }],
  [
    'what is hidden here and shown there',
    [[file('a', '1')], [file('a', '2'), file('b', '1')]],
    { 1: rest, 2: rest },
  ],
  [
    'of several files the likeliest',
    [[file('usr/share/doc/x', '1'), file('usr/lib/liba.so', '1'), file('usr/share/doc/y', '3')]],
    { 1: library, 3: documents },
  ],
  ['the command', [[file('usr/bin/app', '1')], [file('z', '2')]], { 1: command, 2: rest }],
];

describe('shownContents()', () => {
  for (const [what, layers, expected] of CASES) {
    it(`has ${what}`, () => {
      const tocs = layers.map((entries) => layerOf(entries));
      const tree = mergeLayers(tocs);
      const shown = shownContents(tocs, tree, ['app']);
      const all = tocs.flatMap((toc) =>
        Array.from({ length: toc.contentCount }, (_, row) => toc.digestOfContent(row)),
      );
      assert.deepEqual(
        Array.from(shown.content, (row) => all[row]),
        Array.from(shown.content, (_, row) => digestAt(tree.contentDigest, row)),
        'in the order of the tree',
      );
      const texts = new Map(
        layers
          .flat()
          .filter(([kind]) => kind === 'file')
          .map(([, , fields]) => [
            layerOf([file('x', fields?.content ?? '')]).digestOfContent(0),
            fields?.content,
          ]),
      );
      const got = Object.fromEntries(
        Array.from(shown.content, (row, i) => [texts.get(all[row] ?? ('' as never)), shown.likely[i]]),
      );
      assert.deepEqual(got, expected);
      assert.deepEqual(decodeShown(encodeShown(shown), all.length), shown);
    });
  }
});

describe('decodeShown()', () => {
  const shown: ShownContents = {
    content: Uint32Array.of(70_000, 0, 1, 2, 500, 3),
    likely: Uint8Array.of(0, 1, 2, 3, 4, 5),
  };
  const bytes = encodeShown(shown);

  it('gives back what encodeShown() took', () => assert.deepEqual(decodeShown(bytes, 70_001), shown));

  const REFUSED: readonly (readonly [what: string, bytes: Uint8Array, contentCount: number])[] = [
    ['a content that the layers do not have', bytes, 70_000],
    ['layers without contents', bytes, 0],
    ['another version', Uint8Array.of(2, ...bytes.subarray(1)), 70_001],
    ['bytes after the end', Uint8Array.of(...bytes, 0), 70_001],
    ['a kind that is none', Uint8Array.of(...bytes.subarray(0, -1), 6), 70_001],
    ['more rows than bytes', Uint8Array.of(1, 127, 0, 0), 70_001],
    ['nothing', new Uint8Array(0), 70_001],
  ];
  for (const [what, bad, contentCount] of REFUSED) {
    it(`refuses ${what}`, () => assert.throws(() => decodeShown(bad, contentCount), RangeError));
  }

  it('refuses every truncation', () => {
    for (let length = 0; length < bytes.length; length += 1) {
      assert.throws(() => decodeShown(bytes.subarray(0, length), 70_001), RangeError);
    }
  });

  it('answers damage with its own error or contents within bounds', () => {
    const random = randomly(3);
    for (let round = 0; round < 2000; round += 1) {
      const bad = random.damaged(bytes);
      try {
        const { content, likely } = decodeShown(bad, 70_001);
        assert.equal(content.length, likely.length);
        assert.ok(content.every((row) => row < 70_001));
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }
  });
});
