import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DirectoryError } from '../../../extensions/starlight/directory.ts';
import { DirectoryLock } from '../../../server/directory/directory-lock.ts';

describe('DirectoryLock', () => {
  let root: string;
  let path: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-lock-'));
    path = join(root, 'database.lock');
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('is had by one, and by the next when given back', async () => {
    const lock = await DirectoryLock.take(path);
    await assert.rejects(
      DirectoryLock.take(path),
      (error) => error instanceof DirectoryError && error.fault.kind === 'unavailable',
    );
    await lock.release();
    await (await DirectoryLock.take(path)).release();
  });

  const LEFT: readonly (readonly [what: string, text: string])[] = [
    ['a process that is gone', '999999999 x/1'],
    ['an earlier process of the same id', `${process.pid} earlier-boot/12345`],
    ['nobody', ''],
    ['something else', 'nonsense\n'],
    ['a process id that is none', '-1 x/1'],
  ];
  for (const [what, text] of LEFT) {
    it(`is taken over from ${what}`, async () => {
      await writeFile(path, text);
      const lock = await DirectoryLock.take(path);
      assert.match(await readFile(path, 'utf8'), new RegExp(`^${process.pid} `));
      await lock.release();
    });
  }

  it('leaves the lock of another alone', async () => {
    const lock = await DirectoryLock.take(path);
    await writeFile(path, '1 other');
    await lock.release();
    assert.equal(await readFile(path, 'utf8'), '1 other');
  });
});
