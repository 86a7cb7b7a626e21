import { randomUUID } from 'node:crypto';
import type { RepositoryKey } from '../../extensions/starlight/directory.ts';
import { DirectoryError } from '../../extensions/starlight/directory.ts';
import {
  isJobId,
  JOB_KINDS,
  JOB_ORIGINS,
  JOB_STATES,
  type Job,
  type JobId,
  type JobKind,
  type JobRequest,
} from '../../extensions/starlight/jobs/job.ts';
import {
  type JobFilter,
  type JobLimits,
  type JobOutcome,
  type JobQueue,
  JobQueueFullError,
  MAX_JOB_TEXT,
  MAX_LISTED,
  MAX_REQUESTS,
} from '../../extensions/starlight/jobs/job-queue.ts';
import { type Digest, isDigest } from '../../schemas/oci/digest.ts';
import { RowReader } from './rows.ts';
import type { SqlDatabase, SqlRow } from './sql.ts';

/** Asking for jobs is one after the other, so that the limit holds. Any number that nothing else takes. */
const ENQUEUE_LOCK = 7_235_128_420_115;

const COLUMNS = `id, kind, registry, name, reference, digest, origin, state, attempts, not_before_ms, created_ms,
  updated_ms, progress, result, error`;
const OPEN = `state IN ('queued', 'running')`;

/** The queue in SQL (schemas/sql/0003-jobs.sql), in the directory's database, which closes it. */
export class SqlJobQueue implements JobQueue {
  readonly #database: SqlDatabase;
  readonly #limits: JobLimits;
  readonly #nowMs: () => number;

  /** `nowMs` since 1970; replicas compare theirs through the database. */
  constructor(database: SqlDatabase, limits: JobLimits, nowMs: () => number) {
    this.#database = database;
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  async enqueue(requests: readonly JobRequest[], signal: AbortSignal): Promise<readonly JobId[]> {
    signal.throwIfAborted();
    if (requests.length > MAX_REQUESTS) throw new RangeError(`more than ${MAX_REQUESTS} jobs at once`);
    const wanted = new Map(requests.map((request) => [keyOf(request), request]));
    if (wanted.size === 0) return [];
    const rows = [...wanted.values()];
    const now = this.#nowMs();
    const ids = await this.#database.transaction(async (sql) => {
      await sql.query('SELECT pg_advisory_xact_lock($1::bigint)', [ENQUEUE_LOCK]);
      const put = await sql.query(
        `INSERT INTO job (id, kind, registry, name, reference, digest, origin, state, not_before_ms, created_ms, updated_ms)
         SELECT id, kind, registry, name, reference, digest, origin, 'queued', $8::bigint, $8::bigint, $8::bigint
           FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
                AS wanted (id, kind, registry, name, reference, digest, origin)
         ON CONFLICT (kind, registry, name, reference) WHERE ${OPEN} DO UPDATE SET
           again = job.again OR (job.state = 'running' AND (excluded.digest = '' OR excluded.digest <> job.digest)),
           digest = CASE WHEN excluded.digest = '' THEN job.digest ELSE excluded.digest END,
           not_before_ms = least(job.not_before_ms, excluded.not_before_ms)
         RETURNING id, kind, registry, name, reference, id = ANY($1::text[]) AS fresh`,
        [
          rows.map(() => randomUUID()),
          rows.map(({ kind }) => kind),
          rows.map(({ registry }) => registry),
          rows.map(({ name }) => name),
          rows.map(({ reference }) => reference),
          rows.map(({ digest }) => digest ?? ''),
          rows.map(({ origin }) => origin),
          now,
        ],
      );
      if (put.some((row) => new RowReader(row).flag('fresh'))) {
        const open = await sql.query(`SELECT count(*) AS open FROM job WHERE ${OPEN}`);
        if (new RowReader(open[0] ?? {}).count('open') > this.#limits.maxOpen) {
          throw new JobQueueFullError(this.#limits.maxOpen);
        }
      }
      return new Map(put.map((fields) => keyed(fields)));
    });
    return requests.map((request) => ids.get(keyOf(request)) as JobId); // each was put
  }

  async claim(kinds: readonly JobKind[], owner: string, signal: AbortSignal): Promise<Job | undefined> {
    signal.throwIfAborted();
    const { leaseMs, maxAttempts } = this.#limits;
    const now = this.#nowMs();
    // Whoever ran it never said how it ended: perhaps it is the job that ends processes.
    await this.#database.query(
      `UPDATE job SET state = 'failed', updated_ms = $1::bigint, progress = '',
              error = 'whoever ran it ended, ' || attempts || ' times'
        WHERE state = 'running' AND lease_until_ms <= $1::bigint AND attempts >= $2::bigint`,
      [now, maxAttempts],
    );
    const rows = await this.#database.query(
      `UPDATE job SET state = 'running', owner = $2, attempts = attempts + 1, progress = '', again = false,
              lease_until_ms = $3::bigint, updated_ms = $1::bigint
        WHERE id = (
          SELECT id FROM job
           WHERE kind = ANY($4::text[]) AND ((state = 'queued' AND not_before_ms <= $1::bigint)
                 OR (state = 'running' AND lease_until_ms <= $1::bigint))
           ORDER BY not_before_ms, sequence LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING ${COLUMNS}`,
      [now, owner, now + leaseMs, kinds],
    );
    return rows[0] === undefined ? undefined : jobOf(rows[0]);
  }

  async renew(id: JobId, owner: string, progress: string, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `UPDATE job SET lease_until_ms = $3::bigint, progress = $4
        WHERE id = $1 AND owner = $2 AND state = 'running' RETURNING id`,
      [id, owner, this.#nowMs() + this.#limits.leaseMs, cut(progress)],
    );
    return rows.length > 0;
  }

  async finish(id: JobId, owner: string, outcome: JobOutcome, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const now = this.#nowMs();
    const { state, attempts, notBeforeMs, result, error } = this.#ended(outcome, now);
    const rows = await this.#database.query(
      // Asked for anew while it ran: it starts afresh, whatever came of this run.
      `UPDATE job SET state = CASE WHEN again THEN 'queued'
                              WHEN $3 = 'queued' AND $7 <> '' AND attempts >= $9::bigint THEN 'failed' ELSE $3 END,
              attempts = CASE WHEN again THEN 0 ELSE greatest(0, attempts + $4::bigint) END,
              not_before_ms = CASE WHEN again THEN $8::bigint ELSE $5::bigint END,
              result = $6, error = CASE WHEN $7 = '' AND $3 = 'queued' THEN error ELSE $7 END,
              again = false, owner = '', progress = '', updated_ms = $8::bigint
        WHERE id = $1 AND owner = $2 AND state = 'running' RETURNING id`,
      [id, owner, state, attempts, notBeforeMs, cut(result), cut(error), now, this.#limits.maxAttempts],
    );
    return rows.length > 0;
  }

  #ended(outcome: JobOutcome, now: number) {
    const common = { attempts: 0, notBeforeMs: now, result: '', error: '' };
    switch (outcome.kind) {
      case 'done':
        return { ...common, state: 'done', result: outcome.result };
      case 'failed':
        return { ...common, state: 'failed', error: outcome.error };
      case 'retry':
        return { ...common, state: 'queued', error: outcome.error, notBeforeMs: now + outcome.delayMs };
      case 'released':
        return { ...common, state: 'queued', attempts: -1 };
      default:
        return outcome satisfies never;
    }
  }

  async cancel(id: JobId, signal: AbortSignal): Promise<Job | undefined> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `UPDATE job SET state = 'cancelled', again = false, progress = '', updated_ms = $2::bigint
        WHERE id = $1 AND ${OPEN} RETURNING ${COLUMNS}`,
      [id, this.#nowMs()],
    );
    return rows[0] === undefined ? await this.find(id, signal) : jobOf(rows[0]);
  }

  async find(id: JobId, signal: AbortSignal): Promise<Job | undefined> {
    signal.throwIfAborted();
    const rows = await this.#database.query(`SELECT ${COLUMNS} FROM job WHERE id = $1`, [id]);
    return rows[0] === undefined ? undefined : jobOf(rows[0]);
  }

  async list({ state, limit }: JobFilter, signal: AbortSignal): Promise<readonly Job[]> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `SELECT ${COLUMNS} FROM job WHERE $1 = '' OR state = $1 ORDER BY sequence DESC LIMIT $2::bigint`,
      [state ?? '', Math.min(limit, MAX_LISTED)],
    );
    return rows.map(jobOf);
  }

  async seen(repository: RepositoryKey, reference: string, digest: Digest, signal: AbortSignal) {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `SELECT 1 FROM job WHERE registry = $1 AND name = $2 AND reference = $3 AND digest = $4
          AND state IN ('queued', 'running', 'done') LIMIT 1`,
      [repository.registry, repository.name, reference, digest],
    );
    return rows.length > 0;
  }

  async prune(signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    const { keepFinishedMs, maxFinished } = this.#limits;
    const rows = await this.#database.query(
      `DELETE FROM job WHERE NOT (${OPEN}) AND (updated_ms < $1::bigint OR sequence < (
         SELECT min(sequence) FROM (SELECT sequence FROM job WHERE NOT (${OPEN})
                                     ORDER BY sequence DESC LIMIT $2::bigint) AS kept))
       RETURNING id`,
      [this.#nowMs() - keepFinishedMs, maxFinished],
    );
    return rows.length;
  }

  async takeTurn(name: string, owner: string, everyMs: number, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const now = this.#nowMs();
    const rows = await this.#database.query(
      `INSERT INTO job_turn (name, owner, until_ms) VALUES ($1, $2, $3::bigint)
       ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until_ms = excluded.until_ms
        WHERE job_turn.until_ms <= $4::bigint RETURNING name`,
      [name, owner, now + everyMs, now],
    );
    return rows.length > 0;
  }
}

function keyOf({ kind, registry, name, reference }: Omit<JobRequest, 'origin'>): string {
  return JSON.stringify([kind, registry, name, reference]);
}

function keyed(fields: SqlRow): readonly [string, JobId] {
  const row = new RowReader(fields);
  const kind = oneOf(JOB_KINDS, row.text('kind'), 'kind');
  const key = {
    kind,
    registry: row.text('registry'),
    name: row.text('name'),
    reference: row.text('reference'),
  };
  return [keyOf(key), idOf(row)];
}

function jobOf(fields: SqlRow): Job {
  const row = new RowReader(fields);
  const digest = row.text('digest');
  return {
    id: idOf(row),
    kind: oneOf(JOB_KINDS, row.text('kind'), 'kind'),
    registry: row.text('registry'),
    name: row.text('name'),
    reference: row.text('reference'),
    ...(isDigest(digest) ? { digest } : {}),
    origin: oneOf(JOB_ORIGINS, row.text('origin'), 'origin'),
    state: oneOf(JOB_STATES, row.text('state'), 'state'),
    attempts: row.count('attempts'),
    createdMs: row.count('created_ms'),
    updatedMs: row.count('updated_ms'),
    notBeforeMs: row.count('not_before_ms'),
    progress: row.text('progress'),
    result: row.text('result'),
    error: row.text('error'),
  };
}

function idOf(row: RowReader): JobId {
  const id = row.text('id');
  if (!isJobId(id)) throw corrupt('id');
  return id;
}

function oneOf<T extends string>(known: readonly T[], text: string, column: string): T {
  const found = known.find((one) => one === text);
  if (found === undefined) throw corrupt(column);
  return found;
}

function corrupt(column: string): DirectoryError {
  return new DirectoryError(
    { kind: 'corrupt', what: column },
    `the directory database holds an unexpected value in job.${column}`,
  );
}

function cut(text: string): string {
  // NUL is no character of PostgreSQL's texts.
  return text.replaceAll('\0', '').slice(0, MAX_JOB_TEXT);
}
