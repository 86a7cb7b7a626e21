import assert from 'node:assert/strict';
import { inheritRanks, pattern } from '../../../../extensions/starlight/optimizer/inherit-ranks.ts';
import { mergeLayers } from '../../../../schemas/toc/merge.ts';
import type { Tree } from '../../../../schemas/toc/tree.ts';
import { layerOf } from '../../../support/toc-entries.ts';

function tree(...paths: readonly string[]): Tree {
  return mergeLayers([layerOf(paths.map((path) => ['file', path, { content: path }]))]);
}

type Ranks = Readonly<Record<string, readonly [sum: number, hits: number]>>;

const cases: readonly (readonly [
  what: string,
  old: Tree | undefined,
  ranks: Ranks,
  next: Tree,
  expected: Ranks,
])[] = [
  ['the same path', tree('a'), { a: [5, 2] }, tree('a', 'b'), { a: [5, 2] }],
  ['a path that is gone', tree('a', 'x'), { x: [5, 2] }, tree('a'), {}],
  [
    'a new version of a library',
    tree('lib/libz.so.1.2.11'),
    { 'lib/libz.so.1.2.11': [4, 1] },
    tree('lib/libz.so.1.3'),
    { 'lib/libz.so.1.3': [4, 1] },
  ],
  [
    'a new version of a directory',
    tree('python3.11/os.py'),
    { 'python3.11/os.py': [1, 1] },
    tree('python3.12/os.py'),
    { 'python3.12/os.py': [1, 1] },
  ],
  [
    'a new version beside one that stays',
    tree('l-1', 'l-2'),
    { 'l-1': [1, 1] },
    tree('l-1', 'l-2', 'l-3'),
    { 'l-1': [1, 1] },
  ],
  ['not a file that was there before', tree('l-1', 'l-2'), { 'l-1': [1, 1] }, tree('l-2'), {}],
  [
    'whatever was there before, if the old version is not known',
    undefined,
    { 'l-1': [1, 1] },
    tree('l-2'),
    { 'l-2': [1, 1] },
  ],
  ['the first of several', tree('l-1'), { 'l-1': [1, 1] }, tree('l-4', 'l-3'), { 'l-3': [1, 1] }],
  [
    'several, each its own',
    tree('l-1', 'l-2'),
    { 'l-2': [2, 1], 'l-1': [1, 1] },
    tree('l-4', 'l-3', 'l-5'),
    { 'l-3': [1, 1], 'l-4': [2, 1] },
  ],
  [
    'no more than there are',
    tree('l-1', 'l-2'),
    { 'l-1': [1, 1], 'l-2': [2, 1] },
    tree('l-9'),
    { 'l-9': [1, 1] },
  ],
  ['nothing', tree('a'), {}, tree('a'), {}],
  ['no directory', tree('a'), { a: [1, 1] }, tree('a/b'), {}],
];

describe('inheritRanks()', () => {
  for (const [what, old, ranks, next, expected] of cases) {
    it(`hands on ranks to ${what}`, () => {
      const rows = Object.entries(ranks).map(([path, [rankSum, hits]]) => ({
        path: Buffer.from(path),
        content: 4711,
        rankSum,
        hits,
      }));
      const got = inheritRanks(old, rows, next);
      assert.deepEqual(
        Object.fromEntries(
          got.map(({ path, rankSum, hits }) => [Buffer.from(path).toString(), [rankSum, hits]]),
        ),
        expected,
      );
      assert.equal(got.length, Object.keys(expected).length);
      for (const { path, content } of got) assert.equal(content, next.content[next.resolve(path)]);
    });
  }
});

describe('pattern()', () => {
  const paths: readonly (readonly [string, string])[] = [
    ['lib/libc.so.6', 'lib/libc.so.#'],
    ['lib/libc-2.36.so', 'lib/libc-#.so'],
    ['a-1.2.3-4+5~6/b7', 'a-#/b#'],
    ['plain', 'plain'],
  ];
  for (const [path, expected] of paths) {
    it(`of ${path} is ${expected}`, () => assert.equal(pattern(Buffer.from(path)), expected));
  }
});
