import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'mocha';

const ROOT = resolve(import.meta.dirname, '../../..');
const SPEC = `
const { skip } = await import(${JSON.stringify(join(ROOT, 'test/support/skip.ts'))});
describe('suite', () => {
  before(function () { skip(this, 'no moon'); });
  describe('within', () => { it('first', () => {}); });
  it('second', () => {});
});
describe('single', () => {
  it('third', function () { skip(this, 'no sun'); });
  it.skip('fourth', () => {});
  it('passes', () => {});
  it('fails', () => { throw new Error('as it must'); });
});
`;

describe('test reporter', () => {
  let dir = '';
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'starlight-reporter-'));
    writeFileSync(join(dir, 'made.mjs'), SPEC);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const runMocha = (summary: string | undefined) => {
    const { STARLIGHT_TEST_SUMMARY: _, ...env } = process.env;
    const args = [
      'node_modules/mocha/bin/mocha.js',
      '--no-config',
      '--reporter',
      './scripts/test/reporter.ts',
    ];
    return spawnSync(process.execPath, [...args, join(dir, 'made.mjs')], {
      cwd: ROOT,
      encoding: 'utf8',
      env: summary === undefined ? env : { ...env, STARLIGHT_TEST_SUMMARY: summary },
    });
  };

  it('ends with the summary alone on a line, after every reason to skip', () => {
    const { stdout, status } = runMocha(undefined);
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.at(-1), '1 passed, 1 failed, 4 skipped');
    assert.equal(status, 1);
    const reasons = lines.filter((line) => /^ {2}skipped \d+: /.test(line)).map((line) => line.trim());
    assert.deepEqual(reasons.sort(), [
      'skipped 1: no reason given',
      'skipped 1: no sun',
      'skipped 2: no moon',
    ]);
  });

  it('writes the summary to the file that is named, and not to the output', () => {
    const path = join(dir, 'summary');
    const { stdout } = runMocha(path);
    assert.equal(readFileSync(path, 'utf8'), '1 passed, 1 failed, 4 skipped\n');
    assert.ok(!stdout.includes('1 passed, 1 failed'));
  });
});
