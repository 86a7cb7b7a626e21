import type { Digest } from '../../../schemas/oci/digest.ts';

/** Names a job for whoever asks after it: a UUID. */
export type JobId = string & { readonly __brand: 'JobId' };

/** `ingest` takes an image into the directory; `convert` makes a converted one beside it. */
export const JOB_KINDS = ['ingest', 'convert'] as const;
export type JobKind = (typeof JOB_KINDS)[number];

/**
 * queued → running → done, failed or cancelled. From running back to queued: to be tried again, asked for anew while
 * it ran, or left behind by a replica that has ended.
 */
export const JOB_STATES = ['queued', 'running', 'done', 'failed', 'cancelled'] as const;
export type JobState = (typeof JOB_STATES)[number];

/** What made it known that there is something to do. */
export const JOB_ORIGINS = ['event', 'push', 'reconciliation', 'scan', 'ingest', 'conversion'] as const;
export type JobOrigin = (typeof JOB_ORIGINS)[number];

export interface JobRequest {
  readonly kind: JobKind;
  /** The key of the registry, and what that calls the repository: as the directory has them. */
  readonly registry: string;
  readonly name: string;
  /** A tag or a digest. */
  readonly reference: string;
  /** What the reference names, where that is known. */
  readonly digest?: Digest;
  readonly origin: JobOrigin;
}

export interface Job extends JobRequest {
  readonly id: JobId;
  readonly state: JobState;
  /** How often it was begun. */
  readonly attempts: number;
  readonly createdMs: number;
  /** When its state changed last. */
  readonly updatedMs: number;
  /** Of a queued one: not begun before. */
  readonly notBeforeMs: number;
  /** How far a running one is, in words. */
  readonly progress: string;
  /** What came of it, in words; empty until it is done. */
  readonly result: string;
  /** Why it failed last; also of one that is to be tried again. */
  readonly error: string;
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isJobId(text: string): text is JobId {
  return UUID.test(text);
}
