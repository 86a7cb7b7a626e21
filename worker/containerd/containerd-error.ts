import { status } from '@grpc/grpc-js';

export type ContainerdErrorKind =
  /** Not running, restarting, or another socket. Trying again later may help. */
  | 'unavailable'
  | 'not-found'
  | 'already-exists'
  /** It did not answer in time. */
  | 'timeout'
  /** The snapshotter is not configured in containerd, or did not take the layer as it should. */
  | 'snapshotter'
  /** Anything else that it refused. */
  | 'refused';

/** A call to containerd that failed. */
export class ContainerdError extends Error {
  readonly kind: ContainerdErrorKind;

  constructor(kind: ContainerdErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ContainerdError';
    this.kind = kind;
  }
}

export function isContainerdError(error: unknown, kind: ContainerdErrorKind): error is ContainerdError {
  return error instanceof ContainerdError && error.kind === kind;
}

function kindOf(code: unknown): ContainerdErrorKind {
  switch (code) {
    case status.UNAVAILABLE:
      return 'unavailable';
    case status.DEADLINE_EXCEEDED:
      return 'timeout';
    case status.NOT_FOUND:
      return 'not-found';
    case status.ALREADY_EXISTS:
      return 'already-exists';
    default:
      return 'refused';
  }
}

/** What grpc-js gave, as this module's error; `what` says what was tried, `address` whom it was asked of. */
export function asContainerdError(error: unknown, what: string, address: string): ContainerdError {
  if (error instanceof ContainerdError) return error;
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  const details =
    error instanceof Error && 'details' in error && typeof error.details === 'string'
      ? error.details
      : String(error);
  const kind = kindOf(code);
  const where = kind === 'unavailable' ? `containerd is not reachable at ${address}: ` : '';
  return new ContainerdError(kind, `${where}${what}: ${details.slice(0, 500)}`, { cause: error });
}
