import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Migration, migrate, readMigrations } from '../../../server/directory/migrations.ts';
import { openPglite } from '../../../server/directory/pglite.ts';
import type { SqlDatabase } from '../../../server/directory/sql.ts';

describe('readMigrations()', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'starlight-migrations-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('reads the project’s own', async () => {
    const migrations = await readMigrations();
    assert.ok(migrations.length >= 1);
    assert.equal(migrations[0]?.name, 'directory');
  });

  const REFUSED: readonly (readonly string[])[] = [
    ['0002-second.sql'],
    ['0001-a.sql', '0003-c.sql'],
    ['0001-a.sql', '0001-b.sql'],
    ['1-a.sql'],
    ['0001_a.sql'],
    ['0001-.sql'],
  ];
  for (const files of REFUSED) {
    it(`refuses ${files.join(', ')}`, async () => {
      for (const file of files) await writeFile(join(folder, file), 'SELECT 1');
      await assert.rejects(readMigrations(pathToFileURL(`${folder}/`)), /expected \d{4}-name\.sql/);
    });
  }
});

describe('migrate()', function () {
  this.timeout(60_000);
  let database: SqlDatabase;
  before(async () => {
    database = await openPglite();
  });
  after(() => database?.close());

  const steps: readonly Migration[] = [
    { version: 1, name: 'one', script: 'CREATE TABLE one (a integer); INSERT INTO one VALUES (1)' },
    { version: 2, name: 'two', script: 'ALTER TABLE one ADD COLUMN b integer' },
  ];

  it('applies what is missing, once, and nothing of a script that fails', async () => {
    assert.deepEqual(await migrate(database, steps.slice(0, 1)), [1]);
    assert.deepEqual(await migrate(database, steps.slice(0, 1)), []);
    const broken = { version: 3, name: 'broken', script: 'DROP TABLE one; SELECT nonsense' };
    await assert.rejects(migrate(database, [...steps, broken]), /nonsense/);
    assert.deepEqual(await database.query('SELECT * FROM one'), [{ a: 1 }]);
    assert.deepEqual(await migrate(database, steps), [2]);
    assert.deepEqual(await database.query('SELECT a, b FROM one'), [{ a: 1, b: null }]);
  });

  it('refuses a database that is newer than the program', async () => {
    await migrate(database, steps);
    await assert.rejects(migrate(database, steps.slice(0, 1)), /version 2, this program knows 1/);
  });
});
