import { status, type ServiceError } from '@grpc/grpc-js';
import { SnapshotterError, type SnapshotterErrorKind } from './snapshotter-error.ts';

const STATUS: Readonly<Record<SnapshotterErrorKind, status>> = {
  'not-found': status.NOT_FOUND,
  'already-exists': status.ALREADY_EXISTS,
  'failed-precondition': status.FAILED_PRECONDITION,
  'invalid-argument': status.INVALID_ARGUMENT,
};

/** Longest error text sent, in characters. */
const DETAILS_MAX_LENGTH = 1024;

/** The one place where failures become gRPC statuses. Faults are UNKNOWN, as containerd's own errors are. */
export function grpcError(error: unknown): Pick<ServiceError, 'code' | 'details'> {
  return { code: codeOf(error), details: detailsOf(error).slice(0, DETAILS_MAX_LENGTH) };
}

/** True for a fault that is worth an entry in the log: neither a refusal nor a caller that went away. */
export function isFault(error: unknown): boolean {
  return codeOf(error) === status.UNKNOWN;
}

function codeOf(error: unknown): status {
  if (error instanceof SnapshotterError) return STATUS[error.kind];
  if (error instanceof Error && error.name === 'AbortError') return status.CANCELLED;
  return status.UNKNOWN;
}

function detailsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
