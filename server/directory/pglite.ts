import { dirname } from 'node:path';
import { PGlite, types } from '@electric-sql/pglite';
import { DirectoryError } from '../../extensions/starlight/directory.ts';
import { makeDirectory } from '../../schemas/disk/make-directory.ts';
import { DirectoryLock } from './directory-lock.ts';
import { emptyCluster, makeCluster } from './new-cluster.ts';
import type { Sql, SqlDatabase, SqlParameter } from './sql.ts';

/** The part of PGlite that its transactions share with it. */
interface Runner {
  query(text: string, parameters?: unknown[]): Promise<{ rows: unknown[] }>;
  exec(text: string): Promise<unknown>;
}

// PGlite's own conversions of bytea go byte by byte in JavaScript: 15 times slower than these on 3 MB.
const OPTIONS = {
  startParams: [
    ...PGlite.defaultStartParams,
    // PostgreSQL's default of 128 MB is touched whole at start; below it the system's page cache keeps the files at hand.
    ...['-c', 'shared_buffers=16MB'],
    // Its timer, set where a new cluster is opened, is never taken back and would keep the process from ending.
    ...['-c', 'log_startup_progress_interval=0'],
  ],
  parsers: { [types.BYTEA]: (text: string) => Buffer.from(text.slice(2), 'hex') },
  serializers: { [types.BYTEA]: (bytes: Uint8Array) => `\\x${Buffer.from(bytes).toString('hex')}` },
};

function overRunner(runner: Runner): Sql {
  return {
    async query(text, parameters: readonly SqlParameter[] = []) {
      const { rows } = await runner.query(text, [...parameters]);
      return rows as Record<string, unknown>[]; // PGlite's default row mode: objects
    },
    async script(text) {
      await runner.exec(text);
    },
  };
}

/**
 * PostgreSQL within this process. `path` is a directory of its own, made when missing; without it everything
 * is in memory and gone with the process.
 * @throws {DirectoryError} of kind `unavailable` when another process has that directory open.
 */
export async function openPglite(path?: string): Promise<SqlDatabase> {
  let lock: DirectoryLock | undefined;
  let database: PGlite;
  try {
    if (path !== undefined) {
      await makeDirectory(dirname(path));
      lock = await DirectoryLock.take(`${path}.lock`);
      await makeCluster(path);
    }
    const where = path === undefined ? { loadDataDir: await emptyCluster() } : { dataDir: path };
    database = await PGlite.create({ ...OPTIONS, ...where });
  } catch (cause) {
    await lock?.release();
    if (cause instanceof DirectoryError) throw cause;
    throw new DirectoryError({ kind: 'unavailable' }, `cannot open the database in ${path ?? 'memory'}`, {
      cause,
    });
  }
  return {
    ...overRunner(database),
    transaction: (work) => database.transaction((runner) => work(overRunner(runner))),
    async close() {
      if (!database.closed) await database.close();
      await lock?.release();
    },
  };
}
