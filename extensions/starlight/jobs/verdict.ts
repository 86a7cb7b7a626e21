import { ImageError } from '../../../schemas/image/image-error.ts';
import { DocumentError } from '../../../schemas/oci/types.ts';
import { asStarlightError, StarlightError } from '../starlight-error.ts';
import type { JobOutcome } from './job-queue.ts';

/** The first wait before a job is tried again; each further one is four times as long. */
const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 15 * 60_000;

/**
 * What becomes of a job that failed so: what another attempt may better is tried again, later and later.
 * @param attempts how often it was begun, this time included.
 * @param random from 0 up to 1: jobs that failed together are not tried again together.
 */
export function verdictOf(thrown: unknown, attempts: number, random: number): JobOutcome {
  const error = asStarlightError(thrown);
  const message = error instanceof Error ? error.message : String(error);
  if (!mayPass(error)) return { kind: 'failed', error: message };
  const delayMs = Math.min(FIRST_DELAY_MS * 4 ** (attempts - 1), MAX_DELAY_MS);
  return { kind: 'retry', error: message, delayMs: Math.round(delayMs * (1 + random) * 0.75) };
}

function mayPass(error: unknown): boolean {
  if (error instanceof StarlightError) {
    return error.fault.kind === 'unavailable' || error.fault.kind === 'registry';
  }
  if (error instanceof ImageError) {
    const { fault } = error;
    if (fault.kind === 'refused') return fault.status >= 500 || fault.status === 429;
    return fault.kind === 'unreachable' || fault.kind === 'disk';
  }
  if (error instanceof DocumentError) return false;
  return true; // a full disk, a lost connection, a fault of ours: none of them the image's
}
