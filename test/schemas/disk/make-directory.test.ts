import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeDirectory } from '../../../schemas/disk/make-directory.ts';

describe('makeDirectory()', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'starlight-directory-'));
    writeFileSync(join(root, 'file'), '');
    symlinkSync('nowhere', join(root, 'dangling'));
    symlinkSync('.', join(root, 'here'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const GOOD = ['a', 'a/b/c', 'a/b/c/', 'a/../b', 'here/a', 'here', '.', ''] as const;
  for (const path of GOOD) {
    it(`makes ${JSON.stringify(path)}, or finds it`, async () => {
      await makeDirectory(join(root, path));
      await makeDirectory(join(root, path));
      assert.ok(statSync(join(root, path)).isDirectory());
    });
  }

  it('gives all that it makes their mode, and leaves what is there', async () => {
    chmodSync(root, 0o711);
    await makeDirectory(join(root, 'a/b'), 0o700);
    assert.deepEqual(
      ['.', 'a', 'a/b'].map((path) => statSync(join(root, path)).mode & 0o777),
      [0o711, 0o700, 0o700],
    );
  });

  it('lets others make the same at the same time', async () => {
    const path = join(root, 'a/b/c/d/e');
    await Promise.all(Array.from({ length: 20 }, () => makeDirectory(path)));
    assert.deepEqual(readdirSync(path), []);
  });

  const BAD: readonly (readonly [what: string, path: () => string, code: string])[] = [
    ['a file', () => join(root, 'file'), 'EEXIST'],
    ['something below a file', () => join(root, 'file/a/b'), 'ENOTDIR'],
    ['a link to nothing', () => join(root, 'dangling'), 'EEXIST'],
    ['something below a link to nothing', () => join(root, 'dangling/a'), 'EEXIST'],
    ['a name that is too long', () => join(root, 'a', 'n'.repeat(256)), 'ENAMETOOLONG'],
    ['nothing', () => '', 'ENOENT'],
    ['a directory of /proc', () => '/proc/starlight', 'ENOENT'],
    ['something deep below /proc', () => '/proc/starlight/a/b', 'ENOENT'],
    ['something below a process', () => '/proc/self/a/b', 'ENOENT'],
  ];
  for (const [what, path, code] of BAD) {
    it(`ends with ${code} at ${what}`, () => assert.rejects(makeDirectory(path()), { code }));
  }
});
