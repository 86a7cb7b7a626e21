/** What a caller can do about a failure; each has its own gRPC status (grpc-error.ts). */
export type SnapshotterErrorKind =
  | 'not-found'
  | 'already-exists'
  | 'failed-precondition'
  | 'invalid-argument';

/** A request that the snapshotter understood and refuses. Faults (I/O, database) are other errors. */
export class SnapshotterError extends Error {
  readonly kind: SnapshotterErrorKind;

  constructor(kind: SnapshotterErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SnapshotterError';
    this.kind = kind;
  }
}
