import type { Digest } from '../../../schemas/oci/digest.ts';
import type { RepositoryKey } from '../directory.ts';
import type { Job, JobId, JobKind, JobRequest, JobState } from './job.ts';

/**
 * The queue of jobs that all replicas of the proxy share. A job is run by whoever claimed it, as long as that renews
 * its lease; when the lease runs out, another takes it up. Every job is there once: asking for one that is queued or
 * running names that one. Implementations: server/directory; the contract that they pass: conformance/jobs.
 *
 * Every method throws {DirectoryError} `unavailable` while the database does not answer, and the signal's reason.
 */
export interface JobQueue {
  /**
   * Stores all of `requests` or none; when it resolves, they outlive this process. What is running already is run
   * once more afterwards, unless it is known to be about the same digest.
   * @returns the jobs' ids, one for each request.
   * @throws {JobQueueFullError} where too many jobs would be open.
   */
  enqueue(requests: readonly JobRequest[], signal: AbortSignal): Promise<readonly JobId[]>;

  /** The next job of one of `kinds` that is due, now this owner's. One that was begun too often fails instead. */
  claim(kinds: readonly JobKind[], owner: string, signal: AbortSignal): Promise<Job | undefined>;

  /** Extends the lease and notes the progress. @returns false when the job is no longer this owner's: stop it. */
  renew(id: JobId, owner: string, progress: string, signal: AbortSignal): Promise<boolean>;

  /** Ends the owner's turn at a job. @returns false when the job was no longer this owner's: then nothing changes. */
  finish(id: JobId, owner: string, outcome: JobOutcome, signal: AbortSignal): Promise<boolean>;

  /** Cancels a job that is queued or running; any other stays as it is. @returns the job, undefined where unknown. */
  cancel(id: JobId, signal: AbortSignal): Promise<Job | undefined>;

  find(id: JobId, signal: AbortSignal): Promise<Job | undefined>;

  /** The newest first. */
  list(filter: JobFilter, signal: AbortSignal): Promise<readonly Job[]>;

  /** True when a job about this digest under this reference is open or was done, and is still remembered. */
  seen(repository: RepositoryKey, reference: string, digest: Digest, signal: AbortSignal): Promise<boolean>;

  /** Forgets finished jobs that are too old or too many. @returns how many. */
  prune(signal: AbortSignal): Promise<number>;

  /** True for one owner among all replicas in each `everyMs`. */
  takeTurn(name: string, owner: string, everyMs: number, signal: AbortSignal): Promise<boolean>;
}

export type JobOutcome =
  | { readonly kind: 'done'; readonly result: string }
  | { readonly kind: 'failed'; readonly error: string }
  /** To be tried again after `delayMs`; it has failed when it was begun too often. */
  | { readonly kind: 'retry'; readonly error: string; readonly delayMs: number }
  /** Not the job's fault: the replica is ending. As if it had not been begun. */
  | { readonly kind: 'released' };

export interface JobFilter {
  readonly state?: JobState;
  /** At most MAX_LISTED. */
  readonly limit: number;
}

export interface JobLimits {
  /** Jobs queued or running. */
  readonly maxOpen: number;
  /** Finished jobs that are remembered. */
  readonly maxFinished: number;
  readonly keepFinishedMs: number;
  readonly leaseMs: number;
  /** How often one job is begun. */
  readonly maxAttempts: number;
}

export const JOB_LIMITS: JobLimits = {
  maxOpen: 10_000,
  maxFinished: 10_000,
  keepFinishedMs: 7 * 24 * 3_600_000,
  leaseMs: 60_000,
  maxAttempts: 6,
};

/** Jobs of one answer. */
export const MAX_LISTED = 1_000;
/** Jobs that are asked for at once. */
export const MAX_REQUESTS = 1_000;
/** Characters of a progress, a result, an error: what is longer is cut. */
export const MAX_JOB_TEXT = 4_000;

/** There is no room for more jobs now. */
export class JobQueueFullError extends Error {
  readonly limit: number;

  constructor(limit: number) {
    super(`the queue is full: ${limit} jobs are waiting`);
    this.name = 'JobQueueFullError';
    this.limit = limit;
  }
}
