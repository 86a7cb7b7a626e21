import assert from 'node:assert/strict';
import { formatBytes, formatDuration, formatTable, printable } from '../../../worker/cli/terminal.ts';

describe('formatBytes()', () => {
  const rows = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.00 kB'],
    [9999, '10.0 kB'],
    [123_456, '123 kB'],
    [999_499, '999 kB'],
    [999_500, '1.00 MB'],
    [34_451_181, '34.5 MB'],
    [5e15, '5000 TB'],
  ] as const;
  for (const [bytes, text] of rows) it(`${bytes} is ${text}`, () => assert.equal(formatBytes(bytes), text));
});

describe('formatDuration()', () => {
  const rows = [
    [0.4, '0 ms'],
    [850, '850 ms'],
    [1000, '1.0 s'],
    [99_949, '99.9 s'],
    [125_000, '2 min 5 s'],
  ] as const;
  for (const [ms, text] of rows) it(`${ms} ms is ${text}`, () => assert.equal(formatDuration(ms), text));
});

describe('formatTable()', () => {
  it('aligns the columns and leaves no blanks at the ends', () => {
    assert.equal(
      formatTable([
        ['A', 'LONG'],
        ['value', 'x'],
        ['v', ''],
      ]),
      'A      LONG\nvalue  x\nv\n',
    );
  });
  it('takes what would steer a terminal, or break a row, out of a cell', () =>
    assert.equal(formatTable([['a\nb', '\x1b[2J']]), 'a b  ?[2J\n'));
  it('of no rows is nothing', () => assert.equal(formatTable([]), ''));
});

describe('printable()', () => {
  const rows = [
    ['plain, ünï\tcode\n', 'plain, ünï\tcode\n'],
    ['\x1b]0;title\x07', '?]0;title?'],
    ['over\rwritten\b', 'over?written?'],
    ['\u009b31m', '?31m'],
  ] as const;
  for (const [text, expected] of rows) {
    it(JSON.stringify(text), () => assert.equal(printable(text), expected));
  }
});
