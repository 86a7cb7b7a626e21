import assert from 'node:assert/strict';
import { TocError } from '../../../schemas/toc/error.ts';
import { decodeImageToc, encodeImageToc } from '../../../schemas/toc/image-toc.ts';
import { mergeLayers } from '../../../schemas/toc/merge.ts';
import { type LayerEntry, layerOf } from '../../support/toc-entries.ts';
import { listing } from '../../support/merged-listing.ts';

type Layers = readonly (readonly LayerEntry[])[];
type Case = readonly [what: string, layers: Layers, expected: readonly string[]];

const dir = (path: string, rest: LayerEntry[2] = {}): LayerEntry => ['directory', path, rest];
const file = (path: string | Uint8Array, content = '', rest: LayerEntry[2] = {}): LayerEntry => [
  'file',
  path,
  { content, ...rest },
];
const symlink = (path: string, link: string): LayerEntry => ['symlink', path, { link }];
const hardlink = (path: string, link: string, rest: LayerEntry[2] = {}): LayerEntry => [
  'hardlink',
  path,
  { link, ...rest },
];
const whiteout = (path: string): LayerEntry => ['whiteout', path];
const opaque = (path: string): LayerEntry => ['opaque', path];

const LONG = 'n'.repeat(255);
const RAW = Buffer.from([0x61, 0xff, 0xfe, 0x80]);

const cases: readonly Case[] = [
  ['an image without layers', [], []],
  ['a layer without entries', [[]], []],
  [
    'names in the order of their bytes',
    [[file('b', '1'), file('a', '2'), file('B', '3'), file('a.b', '4'), dir('a-')]],
    ['B f 644 3', 'a f 644 2', 'a- d 755', 'a.b f 644 4', 'b f 644 1'],
  ],
  ['a file replaced', [[file('a', 'old', { mode: 0o600 })], [file('a', 'new')]], ['a f 644 new']],
  ['a file renamed', [[file('a', 'text')], [whiteout('a'), file('b', 'text')]], ['b f 644 text']],
  [
    'a file moved to a directory of a later layer',
    [[dir('x'), file('x/a', 't')], [whiteout('x/a')], [dir('y'), file('y/a', 't')]],
    ['x d 755', 'y d 755', 'y/a f 644 t'],
  ],
  [
    'only its metadata changed',
    [[file('a', 't', { mode: 0o644, mtimeSec: 5 })], [file('a', 't', { mode: 0o4755, uid: 3, mtimeSec: 6 })]],
    ['a f 4755 3:0 @6 t'],
  ],
  ['a file emptied', [[file('a', 't')], [file('a')]], ['a f 644']],
  [
    'one content under several names',
    [[file('a', 't'), file('b', 't')], [file('c', 't')]],
    ['a f 644 t', 'b f 644 t', 'c f 644 t'],
  ],
  [
    'the later of two entries in one layer',
    [[file('a', '1', { mode: 0o600 }), file('a', '2')]],
    ['a f 644 2'],
  ],
  [
    'a directory listed twice in one layer: its attributes add up',
    [
      [
        dir('d', { xattrs: { 'user.a': '1', 'user.b': '1' } }),
        dir('d', { mode: 0o700, xattrs: { 'user.b': '2' } }),
      ],
    ],
    ['d d 700 user.a:1 user.b:2'],
  ],
  [
    'a directory listed again above: only the new metadata',
    [
      [dir('d', { uid: 1, mtimeSec: 9, xattrs: { 'user.a': '1' } }), file('d/f', 't')],
      [dir('d', { mode: 0o700, mtimeSec: 3 })],
    ],
    ['d d 700 @3', 'd/f f 644 t'],
  ],
  [
    'three versions in a row',
    [
      [file('a', '1'), file('b', '1')],
      [file('a', '2'), whiteout('b')],
      [file('a', '3'), file('b', '3')],
    ],
    ['a f 644 3', 'b f 644 3'],
  ],

  [
    'a file replaced by a directory',
    [[file('a', 't')], [dir('a'), file('a/b', 'u')]],
    ['a d 755', 'a/b f 644 u'],
  ],
  ['a directory replaced by a file', [[dir('a'), file('a/b', 'u')], [file('a', 't')]], ['a f 644 t']],
  [
    'a directory replaced by a file and by a directory again',
    [[dir('a'), file('a/b', 'u')], [file('a', 't')], [dir('a')]],
    ['a d 755'],
  ],
  [
    'a directory replaced by a symlink',
    [[dir('a'), file('a/b', 'u')], [symlink('a', 'z')]],
    ['a l 777 -> z'],
  ],
  [
    'in one layer, a directory replaced by a file',
    [[dir('a'), file('a/b', 'u'), file('a', 't')]],
    ['a f 644 t'],
  ],
  [
    'in one layer, a directory replaced and made anew is empty',
    [[dir('a'), file('a/b', 'u'), file('a', 't'), dir('a'), file('a/c', 'v')]],
    ['a d 755', 'a/c f 644 v'],
  ],
  [
    'in one layer, a file in a replaced directory can come back',
    [[dir('a'), file('a/b', 'u'), file('a', 't'), dir('a'), file('a/b', 'v')]],
    ['a d 755', 'a/b f 644 v'],
  ],
  [
    'what has replaced a directory takes its time',
    [[dir('a', { mtimeSec: 7 }), file('a', 't', { mtimeSec: 9 })]],
    ['a f 644 @7 t'],
  ],

  ['a whiteout', [[file('a', 't'), file('b', 't')], [whiteout('a')]], ['b f 644 t']],
  ['a whiteout of a directory', [[dir('a'), dir('a/b'), file('a/b/c', 't')], [whiteout('a')]], []],
  [
    'a directory after its whiteout below',
    [[dir('a'), file('a/b', 't')], [whiteout('a')], [dir('a'), file('a/c', 'u')]],
    ['a d 755', 'a/c f 644 u'],
  ],
  ['a whiteout of what is not there', [[file('a', 't')], [whiteout('b')]], ['a f 644 t']],
  [
    'a whiteout in a directory that is not there makes the directory',
    [[], [whiteout('x/y/z')]],
    ['x d 755', 'x/y d 755'],
  ],
  ['a whiteout twice', [[file('a', 't')], [whiteout('a'), whiteout('a')]], []],
  [
    'a whiteout, then a file of that name',
    [[file('a', 't')], [whiteout('a'), file('a', 'u')]],
    ['a f 644 u'],
  ],
  [
    'a whiteout, then a directory of that name: they merge, as with containerd',
    [
      [dir('a'), file('a/b', 't')],
      [whiteout('a'), dir('a'), file('a/c', 'u')],
    ],
    ['a d 755', 'a/b f 644 t', 'a/c f 644 u'],
  ],
  [
    'a whiteout, then a path through it',
    [
      [dir('a'), file('a/b', 't')],
      [whiteout('a'), file('a/c', 'u')],
    ],
    ['a d 755', 'a/c f 644 u'],
  ],
  [
    'a whiteout after the file: it is for lower layers',
    [[file('a', 't')], [file('a', 'u'), whiteout('a')]],
    ['a f 644 u'],
  ],
  [
    'a whiteout after the directory: it is for lower layers',
    [
      [dir('a'), file('a/b', 't')],
      [dir('a'), file('a/c', 'u'), whiteout('a')],
    ],
    ['a d 755', 'a/c f 644 u'],
  ],
  [
    'in the lowest layer a whiteout removes what is there',
    [[file('a', 't'), dir('d'), file('d/e', 't'), whiteout('a'), whiteout('d')]],
    [],
  ],
  ['in the lowest layer a whiteout comes too early', [[whiteout('a'), file('a', 't')]], ['a f 644 t']],
  ['a device 0:0 is a whiteout', [[file('a', 't'), ['chardev', 'z']], [['chardev', 'a']]], []],
  ['a device 0:0 of blocks is none', [[file('a', 't')], [['blockdev', 'a']]], ['a b 644']],

  [
    'an opaque directory',
    [
      [dir('a', { uid: 1 }), file('a/b', 't'), dir('a/c')],
      [dir('a'), opaque('a')],
    ],
    ['a d 755'],
  ],
  [
    'an opaque directory, refilled before and after the marker',
    [
      [dir('a'), file('a/b', 't'), file('a/c', 't')],
      [dir('a'), file('a/b', 'u'), opaque('a'), file('a/d', 'v')],
    ],
    ['a d 755', 'a/b f 644 u', 'a/d f 644 v'],
  ],
  [
    'an opaque marker without its directory takes the one below',
    [[dir('a', { uid: 5, mode: 0o711 }), file('a/b', 't')], [opaque('a')]],
    ['a d 711 5:0'],
  ],
  [
    'an opaque directory below a merged one',
    [
      [dir('a'), file('a/b', '1')],
      [dir('a'), opaque('a'), file('a/c', '2')],
      [dir('a'), file('a/d', '3')],
    ],
    ['a d 755', 'a/c f 644 2', 'a/d f 644 3'],
  ],
  [
    'an opaque root above others counts for nothing',
    [[file('a', 't')], [opaque(''), file('b', 'u')]],
    ['a f 644 t', 'b f 644 u'],
  ],
  [
    'in the lowest layer an opaque marker spares what has an entry',
    [[dir('d'), file('d/a', 't'), file('d/x/y', 'u'), opaque('d')]],
    ['d d 755', 'd/a f 644 t'],
  ],
  [
    'a file whose opaque directory is gone again',
    [[dir('a'), file('a/b', 't')], [opaque('a')], [whiteout('a')]],
    [],
  ],

  [
    'entries before their parent',
    [[file('a/b/c', 't'), dir('a/b', { mode: 0o700, mtimeSec: 4 }), dir('a', { uid: 2 })]],
    ['a d 755 2:0', 'a/b d 700 @4', 'a/b/c f 644 t'],
  ],
  ['parents that no entry names', [[file('a/b/c', 't')]], ['a d 755', 'a/b d 755', 'a/b/c f 644 t']],
  [
    'implied parents are as below',
    [
      [dir('a', { mode: 0o1777, uid: 1, gid: 2, mtimeSec: 8, xattrs: { 'user.k': 'v' } })],
      [file('a/b', 't')],
    ],
    ['a d 1777 1:2 @8 user.k:v', 'a/b f 644 t'],
  ],
  [
    'implied parents are as the nearest one below, even if that is hidden',
    [[dir('a'), dir('a/b', { mode: 0o700 })], [dir('a', { mode: 0o711 }), opaque('a')], [file('a/b/c', 't')]],
    ['a d 711', 'a/b d 700', 'a/b/c f 644 t'],
  ],
  [
    'implied parents above a whiteout are as usual',
    [[dir('a', { mode: 0o700 })], [whiteout('a')], [file('a/b', 't')]],
    ['a d 755', 'a/b f 644 t'],
  ],
  [
    'implied parents above a symlink are as what it leads to',
    [[dir('usr'), dir('usr/lib', { mode: 0o711 }), symlink('lib', 'usr/lib')], [file('lib/a', 't')]],
    ['lib d 711', 'lib/a f 644 t', 'usr d 755', 'usr/lib d 711'],
  ],
  [
    'an entry for an implied parent keeps the attributes below',
    [[dir('a', { xattrs: { 'user.x': '1' } })], [file('a/b', 't'), dir('a', { xattrs: { 'user.y': '2' } })]],
    ['a d 755 user.x:1 user.y:2', 'a/b f 644 t'],
  ],

  [
    'a path through a symlink of the layer',
    [[dir('usr'), dir('usr/lib'), symlink('lib', 'usr/lib'), file('lib/a', 't')]],
    ['lib l 777 -> usr/lib', 'usr d 755', 'usr/lib d 755', 'usr/lib/a f 644 t'],
  ],
  [
    'a path through an absolute symlink',
    [[dir('x'), symlink('x/l', '/y'), file('x/l/a', 't')]],
    ['x d 755', 'x/l l 777 -> /y', 'y d 755', 'y/a f 644 t'],
  ],
  [
    'a path through a symlink that leads above the root',
    [[dir('x'), symlink('x/l', '../../../y/./z'), file('x/l/a', 't')]],
    ['x d 755', 'x/l l 777 -> ../../../y/./z', 'y d 755', 'y/z d 755', 'y/z/a f 644 t'],
  ],
  [
    'a path through a symlink of a lower layer replaces it',
    [
      [dir('usr/lib'), symlink('lib', 'usr/lib')],
      [dir('lib'), file('lib/a', 't')],
    ],
    ['lib d 755', 'lib/a f 644 t', 'usr d 755', 'usr/lib d 755'],
  ],
  ['symlinks that loop', [[symlink('a', 'b'), symlink('b', 'a')]], ['a l 777 -> b', 'b l 777 -> a']],

  ['hard links in one layer', [[file('a', 't'), hardlink('b', 'a')]], ['a f 644 x2 t', 'b f 644 x2 =a t']],
  [
    'hard links across directories',
    [[dir('x'), file('x/a', 't'), dir('y'), hardlink('y/b', 'x/a')]],
    ['x d 755', 'x/a f 644 x2 t', 'y d 755', 'y/b f 644 x2 =x/a t'],
  ],
  [
    'a hard link has the last word on the inode',
    [[file('a', 't', { mode: 0o600, uid: 1 }), hardlink('b', 'a', { mode: 0o4711, gid: 2, mtimeSec: 5 })]],
    ['a f 4711 0:2 @5 x2 t', 'b f 4711 0:2 @5 x2 =a t'],
  ],
  [
    'a hard link takes capabilities away unless it has them',
    [
      [file('a', 't', { xattrs: { 'security.capability': 'c', 'user.u': '1' } }), hardlink('b', 'a')],
      [
        file('c', 't', { xattrs: { 'security.capability': 'c' } }),
        hardlink('d', 'c', { xattrs: { 'security.capability': 'd' } }),
      ],
    ],
    [
      'a f 644 x2 user.u:1 t',
      'b f 644 x2 =a user.u:1 t',
      'c f 644 x2 security.capability:d t',
      'd f 644 x2 =c security.capability:d t',
    ],
  ],
  [
    'a hard link to a symlink',
    [[symlink('s', 'nowhere'), hardlink('h', 's', { mode: 0o644 })]],
    ['h l 777 x2 -> nowhere', 's l 777 x2 =h -> nowhere'],
  ],
  [
    'a hard link to a device',
    [[['chardev', 'n', { devMajor: 1, devMinor: 3 }], hardlink('m', 'n')]],
    ['m c 644 x2 103', 'n c 644 x2 =m 103'],
  ],
  [
    'a hard link of which one name is whited out keeps its count',
    [[file('a', 't'), hardlink('b', 'a')], [whiteout('b')]],
    ['a f 644 x2 t'],
  ],
  [
    'a hard link of which one name is replaced',
    [[file('a', 't'), hardlink('b', 'a')], [file('b', 'u')]],
    ['a f 644 x2 t', 'b f 644 u'],
  ],
  [
    'in one layer, a linked file replaced',
    [[file('a', 't'), hardlink('b', 'a'), file('a', 'u')]],
    ['a f 644 u', 'b f 644 t'],
  ],
  [
    'a hard link to a lower layer gathers both names',
    [[file('a', 't', { uid: 4 }), hardlink('c', 'a', { uid: 4 })], [hardlink('b', 'a', { mtimeSec: 3 })]],
    ['a f 644 @3 x2 t', 'b f 644 @3 x2 =a t', 'c f 644 4:0 x2 t'],
  ],
  [
    'a hard link to a symlink of a lower layer',
    [[symlink('s', 'far')], [], [hardlink('h', 's')]],
    ['h l 777 x2 -> far', 's l 777 x2 =h -> far'],
  ],
  [
    'a hard link through two lower layers',
    [[file('a', 't')], [hardlink('b', 'a')], [hardlink('c', 'b')]],
    ['a f 644 x2 t', 'b f 644 x2 t', 'c f 644 x2 =b t'],
  ],
  [
    'a hard link through a symlink of the layer',
    [[dir('d'), file('d/a', 't'), symlink('l', 'd'), hardlink('b', 'l/a')]],
    ['b f 644 x2 t', 'd d 755', 'd/a f 644 x2 =b t', 'l l 777 -> d'],
  ],
  ['empty files linked', [[file('a'), hardlink('b', 'a')]], ['a f 644 x2', 'b f 644 x2 =a']],

  [
    'devices and pipes',
    [
      [
        ['chardev', 'c', { devMajor: 300, devMinor: 70_000 }],
        ['blockdev', 'b', { devMajor: 8, devMinor: 1 }],
        ['fifo', 'p'],
      ],
    ],
    ['b b 644 801', 'c c 644 11112c70', 'p p 644'],
  ],
  [
    'times before 1970 and after 2262 are 0',
    [
      [
        file('a', '', { mtimeSec: -1, mtimeNsec: 5 }),
        file('b', '', { mtimeSec: 9_223_372_036, mtimeNsec: 854_775_807 }),
        file('c', '', { mtimeSec: 9_223_372_036, mtimeNsec: 854_775_808 }),
        file('d', '', { mtimeSec: 1, mtimeNsec: 5 }),
      ],
    ],
    ['a f 644', 'b f 644 @9223372036.854775807', 'c f 644', 'd f 644 @1.5'],
  ],
  [
    'an owner above 65535',
    [[file('a', '', { uid: 4_294_967_294, gid: 70_000 })]],
    ['a f 644 4294967294:70000'],
  ],
  [
    'a name of 255 bytes',
    [[dir(LONG), file(`${LONG}/${LONG}`, 't')]],
    [`${LONG} d 755`, `${LONG}/${LONG} f 644 t`],
  ],
  [
    'a name that is not UTF-8',
    [[file(RAW, 't')], [dir('z')]],
    [`${RAW.toString('latin1')} f 644 t`, 'z d 755'],
  ],
  [
    'attributes that no file system takes',
    [
      [
        file('a', '', {
          xattrs: { 'trusted.overlay.opaque': 'y', 'user.u': '1', other: '2', 'security.s': '3' },
        }),
        ['symlink', 's', { link: 'x', xattrs: { 'user.u': '1', 'security.s': '3' } }],
      ],
    ],
    ['a f 644 security.s:3 user.u:1', 's l 777 security.s:3 -> x'],
  ],
  [
    'the root keeps its owner and mode',
    [[dir('', { mode: 0o700, uid: 7, mtimeSec: 3 }), file('a', 't')]],
    ['a f 644 t'],
  ],
];

describe('mergeLayers()', () => {
  for (const [what, layers, expected] of cases) {
    it(what, () => {
      const tocs = layers.map((entries, i) => layerOf(entries, `layer ${i}`));
      assert.deepEqual(listing(mergeLayers(tocs), layers), [...expected].sort());
      const tree = mergeLayers(decodeImageToc(encodeImageToc(tocs)));
      assert.deepEqual(tree, mergeLayers(tocs), 'as when stored');
    });
  }

  const refused: readonly (readonly [string, Layers])[] = [
    ['a hard link to nothing', [[hardlink('a', 'b')]]],
    [
      'a hard link to what a lower layer has removed',
      [[file('b', 't')], [whiteout('b')], [hardlink('a', 'b')]],
    ],
    [
      'a hard link to what an opaque directory hides',
      [[dir('d'), file('d/b', 't')], [dir('d'), opaque('d')], [hardlink('a', 'd/b')]],
    ],
    ['a hard link to a directory', [[dir('b'), hardlink('a', 'b')]]],
    ['a hard link to a directory of a lower layer', [[dir('b')], [hardlink('a', 'b')]]],
    ['a hard link to a path through a file', [[file('b', 't')], [hardlink('a', 'b/c')]]],
    ['a path through a file of the layer', [[file('a', 't'), file('a/b', 'u')]]],
    ['a path through a device of the layer', [[], [['chardev', 'a', { devMajor: 1 }], file('a/b', 'u')]]],
    ['a path through a loop of symlinks', [[symlink('a', 'b'), symlink('b', 'a'), file('a/c', 't')]]],
  ];
  for (const [what, layers] of refused) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => mergeLayers(layers.map((entries) => layerOf(entries))),
        (error) => error instanceof TocError && error.kind === 'inapplicable',
      );
    });
  }

  it('counts subdirectories, and takes the root from nowhere', () => {
    const tree = mergeLayers([
      layerOf([dir('', { uid: 9, mode: 0o700, mtimeSec: 3 }), dir('a'), dir('b'), file('c', 't')]),
    ]);
    assert.equal(tree.nlink[0], 4);
    assert.equal(tree.mode[0], 0o040755);
    assert.equal(tree.uid[0], 0);
    assert.equal(tree.mtimeSec[0], 3);
    assert.equal(tree.parent[0], 0);
  });

  it('takes each content once, from the lowest layer that has it', () => {
    const tree = mergeLayers([
      layerOf([file('a', 'one'), file('b', 'two')]),
      layerOf([file('c', 'three'), file('d', 'two'), file('a', 'three')]),
    ]);
    const where = Array.from(tree.contentLayer, (layer, row) => [
      layer,
      tree.contentRow[row],
      tree.contentSize[row],
    ]);
    assert.deepEqual(where, [
      [1, 0, 5],
      [0, 1, 3],
    ]);
  });

  it('is not slowed down by directories replaced over and over', () => {
    const entries: LayerEntry[] = [];
    for (let i = 0; i < 20_000; i += 1) entries.push(file(`d/${i}`, ''));
    for (let i = 0; i < 20_000; i += 1) entries.push(file('d'), dir('d'), file(`d/${i}`, ''));
    const started = performance.now();
    assert.equal(mergeLayers([layerOf(entries)]).inodeCount, 3);
    assert.ok(performance.now() - started < 5000);
  });
});
