import assert from 'node:assert/strict';
import { FILTER_MAX_LENGTH, FILTERS_MAX, parseFilters } from '../../../worker/snapshotter/filter.ts';
import { unquote } from '../../../worker/snapshotter/filter-scanner.ts';
import type { Labels, SnapshotId, SnapshotInfo, SnapshotKind } from '../../../worker/snapshotter/snapshot.ts';
import { keyOf } from '../../support/snapshotter-home.ts';

function info(key: string, kind: SnapshotKind, parent: string | undefined, labels: Labels): SnapshotInfo {
  return {
    id: 1 as SnapshotId,
    key: keyOf(key),
    kind,
    parent: parent === undefined ? undefined : keyOf(parent),
    labels,
    createdNs: 0n,
    updatedNs: 0n,
    source: { kind: 'local' },
    form: undefined,
  };
}

const CORPUS: readonly SnapshotInfo[] = [
  info('foo', 'active', undefined, { foo: 'true' }),
  info('bar', 'view', 'ns/1/sha256:ab', {}),
  info('ns/2/a b', 'committed', 'ns/1/sha256:ab', { 'more complex label': 'present' }),
  info('q', 'committed', undefined, { 'with \\ and "': 'yes', 'with \\ and ".post': 'both' }),
  info('re', 'active', undefined, { foo: 'omg_asdf.asdf-qwer', 'containerd.io/gc.root': 'x,y' }),
];

describe('parseFilters()', () => {
  const GOOD: readonly (readonly [filters: readonly string[], matches: readonly string[]])[] = [
    [[], ['foo', 'bar', 'ns/2/a b', 'q', 're']],
    [[''], ['foo', 'bar', 'ns/2/a b', 'q', 're']],
    [['name'], ['foo', 'bar', 'ns/2/a b', 'q', 're']],
    [['kind==active'], ['foo', 're']],
    [['kind==view'], ['bar']],
    [['kind == committed , labels."more complex label"'], ['ns/2/a b']],
    [['kind!=active'], ['bar', 'ns/2/a b', 'q']],
    [
      ['name==foo', 'name==bar'],
      ['foo', 'bar'],
    ],
    [['name=="ns/2/a b"'], ['ns/2/a b']],
    [['name==ns/2/a'], []],
    [['parent==ns/1/sha256:ab'], ['bar', 'ns/2/a b']],
    [['parent=="ns/1/sha256:ab",kind==view'], ['bar']],
    [['parent==""'], ['foo', 'q', 're']],
    [['parent!=""'], ['bar', 'ns/2/a b']],
    [['labels.foo'], ['foo', 're']],
    [['labels.foo==true'], ['foo']],
    [['labels.foo!=true'], ['bar', 'ns/2/a b', 'q', 're']],
    [['labels.foo==omg_asdf.asdf-qwer'], ['re']],
    [['labels."containerd.io/gc.root"=="x,y"'], ['re']],
    [['labels."containerd.io/gc.root"==x'], []],
    [['labels.containerd.io'], []],
    [['labels."with \\\\ and \\""==yes'], ['q']],
    [['labels."with \\\\ and \\"".post==both'], ['q']],
    [['labels.toString'], []],
    [['labels.__proto__'], []],
    [['labels'], []],
    [['unknown'], []],
    [['unknown!=x'], ['foo', 'bar', 'ns/2/a b', 'q', 're']],
    [['name~=^(foo|bar)$'], ['foo', 'bar']],
    [['name~=/^[a-z]{1,2}$/'], ['q', 're']],
    [['name~=|^[a-z]{1,2}$|,kind==active'], ['re']],
    [['name~="[a-z]{3}"'], ['foo', 'bar']],
    [['name~=/(/'], []],
  ];
  for (const [filters, matches] of GOOD) {
    it(`${JSON.stringify(filters)} passes ${matches.length}`, () => {
      assert.deepEqual(
        CORPUS.filter(parseFilters(filters)).map((each) => each.key),
        matches,
      );
    });
  }

  const BAD: readonly string[] = [
    'name==foo,',
    ',name==foo',
    'labels.',
    '.labels',
    'name=foo',
    'name===foo',
    'name=!foo',
    'name==',
    'name~=,id?=?fbaq',
    'name==foo bar',
    'name foo',
    'labels.ns/key==value',
    'labels.|foo|==x',
    'name==/foo/',
    'name==|foo|',
    'labels.key==/value',
    'name=="foo',
    'name=="fo\no"',
    'name=="\\q"',
    'name=="\\x4"',
    'name=="\\xff"',
    'name=="\\UFFFFFFFF"',
    'labels.?"x"',
    'näme==foo',
    'name==\u0000',
    '\u0000',
    '"',
    '==',
    'a'.repeat(FILTER_MAX_LENGTH + 1),
  ];
  for (const filter of BAD) {
    it(`refuses ${JSON.stringify(filter.slice(0, 40))}`, () => {
      assert.throws(() => parseFilters(['kind==active', filter]), { kind: 'invalid-argument' });
    });
  }

  it('refuses too many filters', () => {
    assert.throws(() => parseFilters(Array(FILTERS_MAX + 1).fill('name')), { kind: 'invalid-argument' });
  });
});

describe('unquote()', () => {
  const ROWS: readonly (readonly [string, string])[] = [
    ['""', ''],
    ['"a\\tb\\n"', 'a\tb\n'],
    ['"\\u00e9\\U0001f600"', 'é😀'],
    ['"\\xc3\\xa9"', 'é'],
    ['"\\303\\251"', 'é'],
    ['"é😀"', 'é😀'],
    ['/a\\/b/', 'a/b'],
  ];
  for (const [quoted, text] of ROWS) {
    it(quoted, () => assert.equal(unquote(quoted), text));
  }
});
