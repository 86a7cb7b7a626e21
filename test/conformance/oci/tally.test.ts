import assert from 'node:assert/strict';
import type { Outcome } from '../../../conformance/oci/junit.ts';
import { faults, table } from '../../../conformance/oci/report.ts';
import { mergePasses, notPassed, regressions, tally } from '../../../conformance/oci/tally.ts';

const cases = (entries: Readonly<Record<string, Outcome>>) => new Map(Object.entries(entries));

describe('mergePasses()', () => {
  const ROWS: readonly (readonly [readonly Outcome[], Outcome])[] = [
    [['passed', 'skipped'], 'passed'],
    [['skipped', 'passed'], 'passed'],
    [['skipped', 'skipped'], 'skipped'],
    [['passed', 'failed'], 'failed'],
    [['failed', 'passed'], 'failed'],
    [['failed', 'skipped', 'passed'], 'failed'],
    [['skipped', 'failed'], 'failed'],
  ];
  for (const [outcomes, expected] of ROWS) {
    it(`takes ${outcomes.join(', ')} for ${expected}`, () => {
      const merged = mergePasses(outcomes.map((outcome) => cases({ a: outcome })));
      assert.deepEqual(merged, cases({ a: expected }));
    });
  }

  it('keeps cases that only one pass has', () => {
    const merged = mergePasses([cases({ a: 'passed' }), cases({ b: 'failed' })]);
    assert.deepEqual(merged, cases({ a: 'passed', b: 'failed' }));
  });
});

const BLOB = 'T/image/push/blob-post-put';

describe('regressions()', () => {
  const ROWS: readonly (readonly [string, Record<string, Outcome>, Record<string, Outcome>, string[]])[] = [
    ['none where all is alike', { a: 'passed', b: 'failed' }, { a: 'passed', b: 'failed' }, []],
    ['none where more passes', { a: 'failed' }, { a: 'passed', b: 'failed' }, []],
    ['what fails', { a: 'passed' }, { a: 'failed' }, ['a']],
    ['what is left out', { a: 'passed' }, { a: 'skipped' }, ['a']],
    ['what is gone', { a: 'passed' }, {}, ['a']],
    ['what fails instead of being left out', { a: 'skipped' }, { a: 'failed' }, ['a']],
    ['none where it comes to more', { a: 'failed' }, { a: 'passed', b: 'passed', c: 'skipped' }, []],
    ['none where what fails is left out', { a: 'failed' }, { a: 'skipped' }, []],
    [
      'one case for another of its name',
      { a: 'passed', 'a (2)': 'failed' },
      { a: 'failed', 'a (2)': 'passed' },
      ['a'],
    ],
    ['fewer of one name', { a: 'passed', 'a (2)': 'passed' }, { a: 'passed', 'a (2)': 'failed' }, ['a (2)']],
    [
      'none where only the order of blobs differs',
      { [BLOB]: 'passed', [`${BLOB} (2)`]: 'failed' },
      { [BLOB]: 'failed', [`${BLOB} (2)`]: 'passed' },
      [],
    ],
    [
      'fewer blobs',
      { [BLOB]: 'passed', [`${BLOB} (2)`]: 'passed' },
      { [BLOB]: 'failed', [`${BLOB} (2)`]: 'passed' },
      [BLOB],
    ],
    ['a blob left out', { [BLOB]: 'passed', [`${BLOB} (2)`]: 'passed' }, { [BLOB]: 'passed' }, [BLOB]],
    [
      'one step for another, with one blob',
      { 'T/sha256 blobs/mount/blob-delete': 'passed', 'T/sha256 blobs/mount/blob-delete (2)': 'failed' },
      { 'T/sha256 blobs/mount/blob-delete': 'failed', 'T/sha256 blobs/mount/blob-delete (2)': 'passed' },
      ['T/sha256 blobs/mount/blob-delete'],
    ],
  ];
  for (const [title, alone, through, expected] of ROWS) {
    it(title, () => assert.deepEqual(regressions(cases(alone), cases(through)), expected));
  }
});

describe('a report', () => {
  const embedded = cases({ 'T/ping': 'passed', 'T/x/tag-list': 'failed', 'T/x/push': 'skipped' });
  const alone = cases({ 'T/ping': 'passed', 'T/x/tag-list': 'failed' });
  const through = cases({ 'T/ping': 'failed', 'T/x/tag-list': 'passed' });
  const compared = [{ name: 'reg', alone, through: new Map([['through it', through]]) }];
  const report = { suite: 's', embedded, compared };

  it('counts by workflow', () => {
    assert.deepEqual(tally(embedded, 'content discovery'), { passed: 0, failed: 1, skipped: 0 });
    assert.deepEqual(notPassed(embedded), ['T/x/tag-list', 'T/x/push']);
  });

  it('names every fault', () => {
    assert.deepEqual(faults(report), [
      's, embedded: T/x/tag-list',
      's, embedded: T/x/push',
      's, reg, worse through it: T/ping',
    ]);
  });

  it('is a table', () => {
    assert.deepEqual(table([report]).split('\n'), [
      '| suite | workflow | embedded | upstream | alone | through it |',
      '| --- | --- | --- | --- | --- | --- |',
      '| s | pull | 1 / 0 / 0 | reg | 1 / 0 / 0 | 0 / 1 / 0 |',
      '| s | push | 0 / 0 / 1 | reg | 0 / 0 / 0 | 0 / 0 / 0 |',
      '| s | content discovery | 0 / 1 / 0 | reg | 0 / 1 / 0 | 1 / 0 / 0 |',
      '| s | content management | 0 / 0 / 0 | reg | 0 / 0 / 0 | 0 / 0 / 0 |',
    ]);
  });
});
