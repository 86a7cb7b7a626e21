import assert from 'node:assert/strict';
import {
  checkLabels,
  LABEL_MAX_BYTES,
  LABELS_MAX,
  updateLabels,
} from '../../../worker/snapshotter/labels.ts';
import type { Labels } from '../../../worker/snapshotter/snapshot.ts';

describe('checkLabels()', () => {
  it('leaves out what is empty', () => {
    assert.deepEqual(checkLabels({ a: '1', b: '', '': 'x' }), { a: '1' });
  });
  it('keeps a label of the largest size', () => {
    const labels = { ab: 'x'.repeat(LABEL_MAX_BYTES - 2) };
    assert.deepEqual(checkLabels(labels), labels);
  });

  const many = Object.fromEntries(Array.from({ length: LABELS_MAX + 1 }, (_, index) => [`l${index}`, 'v']));
  const BAD: readonly (readonly [string, Labels])[] = [
    ['a value too large', { ab: 'x'.repeat(LABEL_MAX_BYTES - 1) }],
    ['a value too large in bytes', { a: 'é'.repeat(LABEL_MAX_BYTES / 2) }],
    ['a name too large', { ['x'.repeat(LABEL_MAX_BYTES)]: 'v' }],
    ['too many', many],
  ];
  for (const [title, labels] of BAD) {
    it(`refuses ${title}`, () => assert.throws(() => checkLabels(labels), { kind: 'invalid-argument' }));
  }
});

describe('updateLabels()', () => {
  const CURRENT: Labels = { a: '1', 'b.c': '2' };
  const GOOD: readonly (readonly [paths: readonly string[], wanted: Labels, result: Labels])[] = [
    [[], { x: '9' }, { x: '9' }],
    [[], {}, {}],
    [['labels'], { x: '9' }, { x: '9' }],
    [['labels.x'], { x: '9', y: '8' }, { ...CURRENT, x: '9' }],
    [['labels.a'], { a: '3' }, { a: '3', 'b.c': '2' }],
    [['labels.b.c'], { 'b.c': '3' }, { a: '1', 'b.c': '3' }],
    [['labels.a'], {}, { 'b.c': '2' }],
    [['labels.toString'], {}, CURRENT],
    [['labels', 'labels.a'], { x: '9' }, { x: '9' }],
  ];
  for (const [paths, wanted, result] of GOOD) {
    it(`${JSON.stringify(paths)} with ${JSON.stringify(wanted)}`, () => {
      assert.deepEqual(updateLabels(CURRENT, wanted, paths), result);
    });
  }

  for (const path of ['name', 'parent', 'kind', 'created_at', 'Labels', 'labelsx', '']) {
    it(`refuses ${JSON.stringify(path)}`, () => {
      assert.throws(() => updateLabels(CURRENT, CURRENT, ['labels.a', path]), { kind: 'invalid-argument' });
    });
  }
});
