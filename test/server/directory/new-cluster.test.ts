import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeCluster } from '../../../server/directory/new-cluster.ts';
import { openPglite } from '../../../server/directory/pglite.ts';

const run = promisify(execFile);
const PGLITE = new URL('../../../server/directory/pglite.ts', import.meta.url).href;

describe('makeCluster()', function () {
  this.timeout(120_000);
  let root: string;
  let path: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-cluster-'));
    path = join(root, 'db');
  });
  afterEach(() => rm(root, { recursive: true }));

  it('makes a database that opens, and keeps what is written', async () => {
    assert.equal(await makeCluster(path), true);
    assert.deepEqual(await readdir(root), ['db']);
    const first = await openPglite(path);
    await first.script('CREATE TABLE t (n integer); INSERT INTO t VALUES (7)');
    await first.close();
    const second = await openPglite(path);
    assert.deepEqual(await second.query('SELECT n FROM t'), [{ n: 7 }]);
    await second.close();
  });

  for (const where of ['on disk', 'in memory']) {
    it(`lets a process end that has left it open, ${where}`, async () => {
      const argument = where === 'on disk' ? JSON.stringify(path) : '';
      const code = `await (await import(${JSON.stringify(PGLITE)})).openPglite(${argument})`;
      // Ended by the test's own time-out if it does not end by itself.
      await run(process.execPath, ['--input-type=module', '-e', code], { timeout: 110_000 });
    });
  }

  it('is of the PostgreSQL that runs on it', async () => {
    await makeCluster(path);
    const database = await openPglite(path);
    const [row] = await database.query('SHOW server_version_num');
    await database.close();
    const major = Math.trunc(Number(row?.['server_version_num']) / 10_000);
    assert.equal((await readFile(join(path, 'PG_VERSION'), 'utf8')).trim(), String(major));
  });

  it('begins anew where an earlier process was killed in the middle', async () => {
    await mkdir(`${path}.partial/base`, { recursive: true });
    await writeFile(`${path}.partial/PG_VERSION`, 'half of it');
    assert.equal(await makeCluster(path), true);
    assert.notEqual(await readFile(join(path, 'PG_VERSION'), 'utf8'), 'half of it');
    assert.deepEqual(await readdir(root), ['db']);
  });

  it('takes an empty directory, and none that has something in it', async () => {
    await mkdir(path);
    assert.equal(await makeCluster(path), true);
    await writeFile(join(path, 'PG_VERSION'), 'kept');
    assert.equal(await makeCluster(path), false);
    assert.equal(await readFile(join(path, 'PG_VERSION'), 'utf8'), 'kept');
  });

  it('says why where it cannot', async () => {
    await writeFile(path, 'a file');
    await assert.rejects(makeCluster(path), { code: 'ENOTDIR' });
  });
});
