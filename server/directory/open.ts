import type { Directory } from '../../extensions/starlight/directory.ts';
import { JOB_LIMITS, type JobLimits, type JobQueue } from '../../extensions/starlight/jobs/job-queue.ts';
import { MigratedDatabase } from './migrated-database.ts';
import { readMigrations } from './migrations.ts';
import { openPglite } from './pglite.ts';
import { openPostgres, type PostgresOptions } from './postgres.ts';
import type { SqlDatabase } from './sql.ts';
import { SqlDirectory } from './sql-directory.ts';
import { SqlJobQueue } from './sql-job-queue.ts';

/** PostgreSQL, or PGlite in a directory of its own, or, for tests, in memory. */
export type DirectoryOptions =
  | ({ readonly kind: 'postgres' } & PostgresOptions)
  | { readonly kind: 'pglite'; readonly path?: string };

/** What one database holds. Closing the directory closes it. */
export interface Stores {
  readonly directory: Directory;
  readonly jobs: JobQueue;
}

export interface PendingStores extends Stores {
  /** Brings the schema up to date; may be tried again. */
  readonly migrate: () => Promise<void>;
}

export interface StoreOptions {
  readonly jobLimits?: JobLimits;
  /** Since 1970. */
  readonly nowMs?: () => number;
}

/** Opens the directory alone. */
export async function openDirectory(options: DirectoryOptions): Promise<Directory> {
  return (await openStores(options)).directory;
}

/** Opens the directory and the queue of jobs, and brings their schema up to date. */
export async function openStores(options: DirectoryOptions, store: StoreOptions = {}): Promise<Stores> {
  const stores = await prepareStores(options, store);
  try {
    await stores.migrate();
  } catch (error) {
    await stores.directory.close().catch(() => undefined); // the first error is the one to tell
    throw error;
  }
  return stores;
}

/** Stores that are `unavailable` until their schema is up to date. A PostgreSQL server is not asked before that. */
export async function prepareStores(
  options: DirectoryOptions,
  { jobLimits = JOB_LIMITS, nowMs = Date.now }: StoreOptions,
): Promise<PendingStores> {
  const database = new MigratedDatabase(await openDatabase(options));
  return {
    directory: new SqlDirectory(database),
    jobs: new SqlJobQueue(database, jobLimits, nowMs),
    migrate: async () => await database.migrate(await readMigrations()),
  };
}

async function openDatabase(options: DirectoryOptions): Promise<SqlDatabase> {
  return options.kind === 'postgres' ? openPostgres(options) : await openPglite(options.path);
}
