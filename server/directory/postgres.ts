import pg from 'pg';
import { DirectoryError } from '../../extensions/starlight/directory.ts';
import { errorCode } from '../../schemas/process/system-error.ts';
import type { Sql, SqlDatabase, SqlParameter } from './sql.ts';

export interface PostgresOptions {
  /** postgres:// URL, as libpq has it; `host` may be a socket directory. */
  readonly url: string;
  readonly maxConnections?: number;
  readonly connectTimeoutMs?: number;
  /** The longest that one statement may take; also what bounds a wait for a lock. */
  readonly statementTimeoutMs?: number;
  /** Told of connections that break while idle; they are replaced. */
  readonly onIdleError?: (error: Error) => void;
}

const INT8 = 20;
/** Deadlock and serialisation failure: the same transaction, tried again, may well pass. */
const RETRIED = new Set(['40P01', '40001']);
const MAX_ATTEMPTS = 4;

/** The server is away, going down or full, as opposed to: it refuses this statement. */
function isUnavailable(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === 'string') return /^(08|53|57P|E[A-Z])/.test(code) || code === '57014';
  return typeof message === 'string' && /timeout|terminated|Connection|Cannot use a pool/i.test(message);
}

/**
 * The server ends (57P01, 57P02), starts or recovers (57P03), has no connection left (53300), cannot be connected to
 * through what stands before it (08…), or another replica migrates for longer than one statement may wait (57014).
 */
const AWAY_STATE = /^(?:57P0[123]|53300|08[0-9A-Z]{3}|57014)$/;
/**
 * ENOTFOUND as well: the name of a container that is not up, or of a Service of Kubernetes without ready pods, is not
 * found, as a misspelt one is not.
 */
const AWAY_CODES: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT'],
  ...['EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ENETDOWN', 'EAI_AGAIN', 'ENOTFOUND'],
]);

/**
 * True where the server is not there for the moment: worth another try. False where it, or the URL, is wrong in a way
 * that only people can mend: password, name of the database, rights, certificates.
 */
export function isAway(error: unknown): boolean {
  const cause = error instanceof DirectoryError && error.cause !== undefined ? error.cause : error;
  if (!(cause instanceof Error)) return false;
  const code = errorCode(cause);
  if (code === 'ENOENT') return 'syscall' in cause && cause.syscall === 'connect'; // no socket yet; else a file that the URL names
  if (code !== undefined) return AWAY_CODES.has(code) || AWAY_STATE.test(code);
  return /timeout|connection terminated/i.test(cause.message); // pg's own
}

function normalise(error: unknown): unknown {
  if (error instanceof DirectoryError || !isUnavailable(error)) return error;
  return new DirectoryError({ kind: 'unavailable' }, 'the directory database does not answer', {
    cause: error,
  });
}

function overClient(client: pg.Pool | pg.PoolClient): Sql {
  return {
    async query(text, parameters: readonly SqlParameter[] = []) {
      try {
        return (await client.query<Record<string, unknown>>(text, [...parameters])).rows;
      } catch (error) {
        throw normalise(error);
      }
    },
    async script(text) {
      await client.query(text);
    },
  };
}

/** A pool of connections to a PostgreSQL server; none is made before the first statement. */
export function openPostgres(options: PostgresOptions): SqlDatabase {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.maxConnections ?? 8,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    statement_timeout: options.statementTimeoutMs ?? 30_000,
    // The client's own limit is for a server that has gone without a word.
    query_timeout: (options.statementTimeoutMs ?? 30_000) + 5_000,
    keepAlive: true,
    idleTimeoutMillis: 60_000,
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text'),
    },
  });
  pool.on('error', (error) => options.onIdleError?.(error));
  let reached = false;
  pool.once('connect', () => {
    reached = true;
  });
  return {
    ...overClient(pool),
    async transaction(work) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await inTransaction(pool, work);
        } catch (error) {
          if (attempt < MAX_ATTEMPTS && RETRIED.has(String((error as { code?: unknown }).code))) continue;
          throw normalise(error);
        }
      }
    },
    async close() {
      const ended = pool.end();
      // That a connection to a server that has never answered fails is not waited for.
      if (reached) await ended;
    },
  };
}

async function inTransaction<T>(pool: pg.Pool, work: (sql: Sql) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    await client.query('BEGIN');
    const result = await work(overClient(client));
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // Keep the first error. A connection that cannot even roll back is not given back to the pool.
    await client.query('ROLLBACK').catch((failure: Error) => {
      broken ??= failure;
    });
    throw error;
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}
