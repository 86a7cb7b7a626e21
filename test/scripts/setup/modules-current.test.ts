import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';

const SCRIPT = resolve(import.meta.dirname, '../../../scripts/setup/modules-current.mjs');

type Packages = Readonly<Record<string, object>>;
const A = { version: '1.0.0', integrity: 'sha512-a' };
const B = { version: '2.0.0', integrity: 'sha512-b' };
const ELSEWHERE = { ...B, optional: true, os: ['plan9'] };

/** What the lock file wants, what npm recorded as installed (undefined: no record), and whether that will do. */
const CASES: readonly (readonly [
  name: string,
  wanted: Packages,
  installed: Packages | undefined,
  current: boolean,
])[] = [
  ['the same', { '': {}, 'node_modules/a': A }, { 'node_modules/a': A }, true],
  [
    'an optional package for another system',
    { '': {}, 'node_modules/a': A, 'node_modules/b': ELSEWHERE },
    { 'node_modules/a': A },
    true,
  ],
  [
    'an optional package for another C library',
    { '': {}, 'node_modules/b': { ...B, optional: true, libc: ['musl'] } },
    {},
    true,
  ],
  ['no record', { '': {}, 'node_modules/a': A }, undefined, false],
  ['an empty record', { '': {}, 'node_modules/a': A }, {}, false],
  [
    'another version',
    { '': {}, 'node_modules/a': A },
    { 'node_modules/a': { ...A, version: '1.0.1' } },
    false,
  ],
  [
    'other contents',
    { '': {}, 'node_modules/a': A },
    { 'node_modules/a': { ...A, integrity: 'sha512-z' } },
    false,
  ],
  [
    'a package too many',
    { '': {}, 'node_modules/a': A },
    { 'node_modules/a': A, 'node_modules/b': B },
    false,
  ],
  [
    'a package for another system that is not optional',
    { '': {}, 'node_modules/b': { ...B, os: ['plan9'] } },
    {},
    false,
  ],
  [
    'an optional package for this system',
    { '': {}, 'node_modules/b': { ...B, optional: true, os: [process.platform] } },
    {},
    false,
  ],
];

describe('modules-current', () => {
  let dir = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'starlight-modules-'));
    mkdirSync(join(dir, 'node_modules'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const status = (wanted: Packages, installed: Packages | undefined) => {
    writeFileSync(join(dir, 'package-lock.json'), JSON.stringify({ packages: wanted }));
    if (installed !== undefined) {
      for (const path of Object.keys(installed)) mkdirSync(join(dir, path), { recursive: true });
      writeFileSync(join(dir, 'node_modules/.package-lock.json'), JSON.stringify({ packages: installed }));
    }
    return spawnSync(process.execPath, [SCRIPT], { cwd: dir }).status;
  };

  for (const [name, wanted, installed, current] of CASES) {
    it(`${current ? 'accepts' : 'refuses'} ${name}`, () =>
      assert.equal(status(wanted, installed), current ? 0 : 1));
  }

  it('refuses a package whose directory is gone', () => {
    status({ '': {}, 'node_modules/a': A }, { 'node_modules/a': A });
    rmSync(join(dir, 'node_modules/a'), { recursive: true });
    assert.equal(spawnSync(process.execPath, [SCRIPT], { cwd: dir }).status, 1);
  });
});
