import type { Directory } from '../../extensions/starlight/directory.ts';
import { migrate, readMigrations } from './migrations.ts';
import { openPglite } from './pglite.ts';
import { openPostgres, type PostgresOptions } from './postgres.ts';
import type { SqlDatabase } from './sql.ts';
import { SqlDirectory } from './sql-directory.ts';

/** PostgreSQL, or PGlite in a directory of its own, or, for tests, in memory. */
export type DirectoryOptions =
  | ({ readonly kind: 'postgres' } & PostgresOptions)
  | { readonly kind: 'pglite'; readonly path?: string };

/** Opens the directory and brings its schema up to date. */
export async function openDirectory(options: DirectoryOptions): Promise<Directory> {
  const database = await openDatabase(options);
  try {
    await migrate(database, await readMigrations());
  } catch (error) {
    await database.close().catch(() => undefined); // the first error is the one to tell
    throw error;
  }
  return new SqlDirectory(database);
}

async function openDatabase(options: DirectoryOptions): Promise<SqlDatabase> {
  return options.kind === 'postgres' ? openPostgres(options) : await openPglite(options.path);
}
