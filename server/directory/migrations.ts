import { readdir, readFile } from 'node:fs/promises';
import type { SqlDatabase } from './sql.ts';

/** Where the project's own migrations stand. */
export const MIGRATIONS_URL = new URL('../../schemas/sql/', import.meta.url);

export interface Migration {
  /** The number at the start of the file name, from 1 up without a gap. */
  readonly version: number;
  readonly name: string;
  readonly script: string;
}

/** Any number will do that no other program takes in the same database. */
const ADVISORY_LOCK = 7_235_128_420_114;

/** @throws {Error} when a file is not named NNNN-name.sql or a number is missing or stands twice. */
export async function readMigrations(folder: URL = MIGRATIONS_URL): Promise<readonly Migration[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  return await Promise.all(
    files.map(async (file, row) => {
      const match = /^(\d{4})-([a-z0-9-]+)\.sql$/.exec(file);
      const version = Number(match?.[1]);
      if (match?.[2] === undefined || version !== row + 1) {
        throw new Error(`${file}: expected ${String(row + 1).padStart(4, '0')}-name.sql`);
      }
      return { version, name: match[2], script: await readFile(new URL(file, folder), 'utf8') };
    }),
  );
}

/**
 * Brings the database to the newest version, in one transaction under an advisory lock: of two processes that
 * start at once the second waits and then finds nothing to do.
 * @returns the versions applied now.
 * @throws {Error} when the database is newer than this program.
 */
export async function migrate(
  database: SqlDatabase,
  migrations: readonly Migration[],
): Promise<readonly number[]> {
  return await database.transaction(async (sql) => {
    await sql.query('SELECT pg_advisory_xact_lock($1::bigint)', [ADVISORY_LOCK]);
    await sql.script(`CREATE TABLE IF NOT EXISTS schema_version (
      version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`);
    const rows = await sql.query('SELECT coalesce(max(version), 0) AS version FROM schema_version');
    const current = Number(rows[0]?.['version'] ?? 0);
    if (current > migrations.length) {
      throw new Error(
        `the directory database has version ${current}, this program knows ${migrations.length}`,
      );
    }
    const pending = migrations.slice(current);
    for (const migration of pending) {
      await sql.script(migration.script);
      await sql.query('INSERT INTO schema_version (version, name) VALUES ($1, $2)', [
        migration.version,
        migration.name,
      ]);
    }
    return pending.map(({ version }) => version);
  });
}
