import assert from 'node:assert/strict';
import { ProgressLine, progressText } from '../../../worker/cli/progress-line.ts';
import type { Terminal } from '../../../worker/cli/terminal.ts';

const PROGRESS = { done: 25, total: 100, text: '3/12 files  1.00 MB of 4.00 MB' };

describe('progressText()', () => {
  const rows: readonly (readonly [number, string])[] = [
    [Number.POSITIVE_INFINITY, '[######------------------]  25%  3/12 files  1.00 MB of 4.00 MB'],
    [63, '[######------------------]  25%  3/12 files  1.00 MB of 4.00 MB'],
    [62, '[######-----------------]  25%  3/12 files  1.00 MB of 4.00 MB'],
    [45, '[##----]  25%  3/12 files  1.00 MB of 4.00 MB'],
    [44, '25%  3/12 files  1.00 MB of 4.00 MB'],
    [20, '25%  3/12 files  1.0'],
    [3, '25%'],
    [0, ''],
  ];
  for (const [columns, expected] of rows) {
    it(`in ${columns} columns`, () => assert.equal(progressText(PROGRESS, columns), expected));
  }

  const shares: readonly (readonly [number, number, RegExp])[] = [
    [0, 100, /^\[-{24}\] {3}0% /],
    [99.9, 100, /^\[#{24}\] {2}99% /],
    [100, 100, /^\[#{24}\] 100% /],
    [200, 100, /^\[#{24}\] 100% /],
    [0, 0, /^\[#{24}\] 100% /],
  ];
  for (const [done, total, expected] of shares) {
    it(`${done} of ${total}`, () => assert.match(progressText({ done, total, text: 'x' }), expected));
  }
});

describe('ProgressLine', () => {
  it('keeps to a window that is made narrower meanwhile', () => {
    let columns = 80;
    let now = 0;
    const written: string[] = [];
    const terminal: Terminal = {
      json: false,
      interactive: true,
      get columns() {
        return columns;
      },
      out: () => assert.fail('progress is no output'),
      err: (text) => void written.push(text),
    };
    const line = new ProgressLine(terminal, () => (now += 1000));
    for (columns of [80, 40, 20]) {
      line.update(PROGRESS);
      const drawn = written.at(-1) ?? '';
      assert.ok(drawn.startsWith('\r\x1b[K'));
      assert.ok(drawn.length - '\r\x1b[K'.length < columns, drawn);
    }
    line.clear();
    assert.equal(written.at(-1), '\r\x1b[K');
  });
});
