import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  type HeldImage,
  type WantedImage,
  wordsOf,
} from '../../../../extensions/starlight/optimizer/image.ts';
import { type DeltaPlan, planDelta } from '../../../../extensions/starlight/optimizer/plan-delta.ts';
import { decodeShown, encodeShown, shownContents } from '../../../../extensions/starlight/optimizer/shown.ts';
import { startOrder } from '../../../../extensions/starlight/optimizer/start-order.ts';
import { digestAt } from '../../../../schemas/oci/digest.ts';
import { mergeLayers } from '../../../../schemas/toc/merge.ts';
import { NONE } from '../../../../schemas/toc/tree.ts';
import { type LayerEntry, layerOf } from '../../../support/toc-entries.ts';

type Layers = readonly (readonly LayerEntry[])[];

const dir = (path: string): LayerEntry => ['directory', path];
const file = (path: string, content: string, rest: LayerEntry[2] = {}): LayerEntry => [
  'file',
  path,
  { content, ...rest },
];
const whiteout = (path: string): LayerEntry => ['whiteout', path];

const known = new Map<string, string>();

function image(
  layers: Layers,
  ranks: Readonly<Record<string, readonly [sum: number, hits: number]>> = {},
  command: readonly string[] = [],
  start: readonly string[] = [],
): WantedImage {
  for (const [, , rest] of layers.flat()) {
    const text = rest?.content ?? '';
    known.set(
      createHash('sha256').update(text).digest('hex'),
      text.length > 40 ? `${text.slice(0, 1)}…` : text,
    );
  }
  const tocs = layers.map((entries) => layerOf(entries));
  const tree = mergeLayers(tocs);
  const shown = shownContents(tocs, tree, command);
  const contentCount = tocs.reduce((sum, toc) => sum + toc.contentCount, 0);
  return {
    layers: tocs,
    shown: decodeShown(encodeShown(shown), contentCount),
    start: startOrder(
      tree,
      start.map((path) => tree.resolve(path)),
    ),
    ranks: Object.entries(ranks).map(([path, [rankSum, hits]]) => ({
      content: tree.content[tree.resolve(path)] ?? NONE,
      rankSum,
      hits,
    })),
  };
}

/** The texts in the order of sending; those that share a payload in brackets. */
function sent(plan: DeltaPlan, wanted: readonly WantedImage[]): string[] {
  const tables = wanted.flatMap(({ layers }) => layers);
  const texts = tables.flatMap(({ contents }) =>
    Array.from(
      contents.sizeBytes,
      (_, row) =>
        known.get(Buffer.from(contents.digest.subarray(row * 32, row * 32 + 32)).toString('hex')) ?? '?',
    ),
  );
  const byPayload: string[][] = [];
  for (const [i, payload] of plan.files.payload.entries()) {
    byPayload[payload] ??= [];
    byPayload[payload].push(texts[plan.files.content[i] ?? -1] ?? '?');
  }
  return byPayload.map((one) => (one.length === 1 ? (one[0] ?? '') : `[${one.join(' ')}]`));
}

const big = (letter: string, sizeBytes: number): string => letter.repeat(sizeBytes);

const cases: readonly (readonly [
  what: string,
  to: readonly WantedImage[],
  from: readonly Layers[],
  expected: readonly string[],
])[] = [
  ['everything to somebody who has nothing', [image([[file('a', '1'), file('b', '2')]])], [], ['1', '2']],
  ['nothing to somebody who has it', [image([[file('a', '1')]])], [[[file('a', '1')]]], []],
  ['nothing for an image without files', [image([[dir('a'), file('b', '')]])], [], []],
  [
    'nothing where only metadata changed',
    [image([[file('a', '1', { mode: 0o600, uid: 7 })]])],
    [[[file('a', '1')]]],
    [],
  ],
  ['nothing for a file renamed', [image([[file('b', '1')]])], [[[file('a', '1')]]], []],
  [
    'nothing for a file moved across layers',
    [image([[dir('d')], [file('d/a', '1')]])],
    [[[file('a', '1')], [file('z', '9')]]],
    [],
  ],
  [
    'nothing for a file that is a hard link now',
    [image([[file('a', '1'), ['hardlink', 'b', { link: 'a' }]]])],
    [[[file('b', '1')]]],
    [],
  ],
  ['nothing for a file emptied', [image([[file('a', '')]])], [[[file('a', '1')]]], []],
  ['one of what is there twice', [image([[file('a', '1'), file('b', '1')], [file('c', '1')]])], [], ['1']],
  [
    'what has changed',
    [image([[file('a', '1'), file('b', '3')]])],
    [[[file('a', '1'), file('b', '2')]]],
    ['3'],
  ],
  [
    'not what an upper layer replaces',
    [image([[file('a', 'old'), file('b', '2')], [file('a', 'new')]])],
    [],
    ['2', 'new'],
  ],
  ['not what is whited out', [image([[file('a', '1'), file('b', '2')], [whiteout('a')]])], [], ['2']],
  [
    'not what an opaque directory hides',
    [
      image([
        [dir('d'), file('d/a', '1')],
        [dir('d'), ['opaque', 'd'], file('d/b', '2')],
      ]),
    ],
    [],
    ['2'],
  ],
  [
    'not what a file in the place of its directory hides',
    [image([[dir('d'), file('d/a', '1')], [file('d', '2')]])],
    [],
    ['2'],
  ],
  [
    'what layers of a held image hide: it was never sent',
    [image([[file('a', '1')]])],
    [[[file('a', '1')], [whiteout('a')]]],
    ['1'],
  ],
  [
    'the third version to a holder of the first two',
    [image([[file('a', '3'), file('b', '1'), file('c', '2')]])],
    [[[file('a', '1'), file('b', '1')]], [[file('a', '2'), file('c', '2')]]],
    ['3'],
  ],
  [
    'what several images share, once',
    [image([[file('a', '1'), file('b', '2')]]), image([[file('c', '2'), file('d', '3')]])],
    [],
    ['1', '2', '3'],
  ],
  [
    'from the shortest payload',
    [
      image([
        [file('a', '1', { payloadLength: 900 }), file('b', '2')],
        [file('c', '1', { payloadLength: 90 })],
      ]),
    ],
    [],
    ['2', '1'],
  ],
  [
    'what shares a payload, together',
    [
      image([[file('a', '1'), file('b', '2', { payload: 0, innerOffset: 512 }), file('c', '3')]], {
        c: [0, 1],
        b: [5, 1],
      }),
    ],
    [],
    ['3', '[1 2]'],
  ],
  [
    'of a shared payload only what is missing',
    [image([[file('a', '1'), file('b', '2', { payload: 0, innerOffset: 512 })]])],
    [[[file('x', '1')]]],
    ['2'],
  ],

  [
    'first what was opened, by average place',
    [image([[file('a', '1'), file('b', '2'), file('c', '3')]], { c: [3, 3], b: [4, 1] })],
    [],
    ['3', '2', '1'],
  ],
  [
    'by the earliest of several paths',
    [image([[file('a', '1'), file('b', '2'), file('c', '1')]], { a: [9, 1], b: [5, 1], c: [1, 1] })],
    [],
    ['1', '2'],
  ],
  [
    'by the earliest of several images',
    [
      image([[file('a', '1'), file('b', '2')]], { a: [9, 1], b: [5, 1] }),
      image([[file('c', '1')]], { c: [1, 1] }),
    ],
    [],
    ['1', '2'],
  ],
  [
    'ties by digest',
    [image([[file('a', '1'), file('b', '2'), file('c', '3')]], { a: [1, 1], b: [2, 2], c: [3, 3] })],
    [],
    ['3', '1', '2'].sort((a, b) => hash(a) - hash(b)),
  ],
  [
    'whatever was opened and is not there',
    [image([[file('a', '1'), dir('d')]], { d: [0, 1], gone: [0, 1], a: [0, 0] })],
    [],
    ['1'],
  ],

  [
    'untraced: what is known to be opened at the start, in that order, before all else',
    [
      image(
        [[file('a', '1'), file('bin/app', 'app'), file('b', '2'), file('c', '3')]],
        {},
        ['app'],
        ['c', 'a'],
      ),
    ],
    [],
    ['3', '1', 'app', '2'],
  ],
  [
    'what was opened before what is only known to be',
    [
      image(
        [[file('a', '1'), file('b', '2'), file('c', '3'), file('d', '4')]],
        { d: [7, 1] },
        [],
        ['c', 'd', 'a'],
      ),
    ],
    [],
    ['4', '3', '1', '2'],
  ],
  [
    'untraced: of several images the first of each, then the second of each',
    [
      image([[file('a', '1'), file('b', '2'), file('x', '5')]], {}, [], ['b', 'a']),
      image([[file('c', '3'), file('d', '4'), file('b', '2')]], {}, [], ['d', 'c', 'b']),
    ],
    [],
    ['2', '4', '1', '3', '5'],
  ],
  [
    'of what is known to be opened only what is missing',
    [image([[file('a', '1'), file('b', '2'), file('c', '3')]], {}, [], ['c', 'b'])],
    [[[file('x', '3')]]],
    ['2', '1'],
  ],
  [
    'untraced: the command first, then loader, libraries, programs, the rest, documents',
    [
      image(
        [
          [
            file('usr/share/doc/x', 'doc'),
            file('opt/thing', 'rest'),
            file('etc/x.conf', 'conf'),
            file('usr/lib/x86_64-linux-gnu/libz.so.1', 'lib'),
            file('usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2', 'loader'),
            file('usr/lib/python3/x.py', 'py'),
            file('usr/bin/other', 'other'),
            file('usr/bin/app-1', 'app'),
            ['symlink', 'usr/local/bin/app', { link: '../../bin/app-1' }],
          ],
        ],
        {},
        ['app', '--flag'],
      ),
    ],
    [],
    ['app', 'loader', 'lib', 'conf', 'other', 'rest', 'py', 'doc'],
  ],
  [
    'untraced: a script after its interpreter is the command too',
    [
      image([[file('a', '1'), file('srv/run.py', 'script'), file('bin/python', 'python')]], {}, [
        'python',
        '/srv/run.py',
      ]),
    ],
    [],
    ['script', 'python', '1'],
  ],
  [
    'untraced: small before large of one kind',
    [
      image([
        [
          file('a', big('a', 20 << 20)),
          file('b', big('b', 2 << 20)),
          file('c', big('c', 100_000)),
          file('d', 'd'),
        ],
      ]),
    ],
    [],
    ['d', 'c…', 'b…', 'a…'],
  ],
];

function heldOf({ layers, shown }: WantedImage): HeldImage {
  return { words: wordsOf(layers), shown: shown.content };
}

function hash(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE();
}

describe('planDelta()', () => {
  for (const [what, to, from, expected] of cases) {
    it(`sends ${what}`, () => {
      const held = from.map((layers) => heldOf(image(layers)));
      const plan = planDelta(to, held);
      assert.deepEqual(sent(plan, to), expected);
      assert.deepEqual(planDelta(to, held), plan);
    });
  }

  it('says where payloads lie: layer, offset, length', () => {
    const one = image([
      [file('a', '1', { payloadLength: 7 })],
      [file('b', '2', { payloadLength: 50 }), file('c', '3', { payloadLength: 8 })],
    ]);
    const two = image([[file('d', '4', { payloadLength: 9 })]], { d: [0, 1] });
    const { payloads, files } = planDelta([one, two], []);
    assert.deepEqual([...payloads.layer], [2, 0, 1, 1]);
    assert.deepEqual([...payloads.offset], [0, 0, 0, 70]);
    assert.deepEqual([...payloads.length], [9, 7, 50, 8]);
    assert.deepEqual([...files.content], [3, 0, 1, 2]);
    assert.deepEqual([...files.payload], [0, 1, 2, 3]);
  });

  it('keeps inner offsets with the payload that is chosen', () => {
    const one = image([
      [file('a', '1', { payloadLength: 500 }), file('b', '2', { payload: 0, innerOffset: 1024 })],
      [file('c', '2', { payloadLength: 10, innerOffset: 3 })],
    ]);
    const { files, payloads } = planDelta([one], []);
    assert.deepEqual([...files.innerOffset], [0, 3]);
    assert.deepEqual([...payloads.layer], [0, 1]);
  });

  it('brings all that is wanted exactly once, whatever the layers', () => {
    const entries = (from: number, to: number): LayerEntry[] =>
      Array.from({ length: to - from }, (_, i) =>
        file(
          `f${(from + i) % 70}`,
          `${(from + i) % 90}`,
          i % 3 === 0 ? {} : { payload: i % 7, innerOffset: i * 512 },
        ),
      );
    const one = image([entries(0, 100), entries(50, 130)], { f3: [1, 1], f60: [0, 2] });
    const two = image([entries(20, 60)]);
    const { files } = planDelta([one, two], []);
    const digests = [one, two]
      .flatMap(({ layers }) => layers)
      .flatMap(({ contents }) => Array.from(contents.sizeBytes, (_, row) => digestAt(contents.digest, row)));
    const got = [...files.content].map((row) => digests[row]);
    const wanted = [one, two].flatMap(({ layers, shown }) => {
      const all = layers.flatMap(({ contents }) =>
        Array.from(contents.sizeBytes, (_, row) => digestAt(contents.digest, row)),
      );
      return Array.from(shown.content, (row) => all[row]);
    });
    assert.equal(new Set(got).size, got.length);
    assert.deepEqual(new Set(got), new Set(wanted));
  });
});
