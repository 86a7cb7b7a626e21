import type { Digest } from '../../schemas/oci/digest.ts';

/** What can go wrong with a content on its way into the store. */
export type StoreFault =
  /** The bytes are not those of the digest: somebody lies, or a wire is bad. */
  | { readonly kind: 'digest-mismatch'; readonly digest: Digest; readonly actual: Digest }
  /** More or fewer bytes than announced. */
  | {
      readonly kind: 'size-mismatch';
      readonly digest: Digest;
      readonly sizeBytes: number;
      readonly actualBytes: number;
    }
  /** The disk (or the quota) is full. Nothing is lost; write again once there is room. */
  | { readonly kind: 'no-space'; readonly path: string }
  | { readonly kind: 'closed' };

function describe(fault: StoreFault): string {
  switch (fault.kind) {
    case 'digest-mismatch':
      return `content ${fault.digest} arrived as ${fault.actual}: refused`;
    case 'size-mismatch':
      return `content ${fault.digest} of ${fault.sizeBytes} bytes arrived with ${fault.actualBytes}: refused`;
    case 'no-space':
      return `no space left on the device that holds ${fault.path}`;
    case 'closed':
      return 'the content store is closed';
    default:
      return fault satisfies never;
  }
}

/** The store's one error class; compare `fault.kind`. */
export class StoreError extends Error {
  readonly fault: StoreFault;

  constructor(fault: StoreFault, options?: ErrorOptions) {
    super(describe(fault), options);
    this.name = 'StoreError';
    this.fault = fault;
  }
}

const NO_SPACE_CODES: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** True for a system error that means "the disk is full". */
export function isNoSpace(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    NO_SPACE_CODES.has(error.code)
  );
}

/** A full disk becomes a {@link StoreError} of kind `no-space`; anything else stays what it is. */
export function asStoreError(error: unknown, path: string): unknown {
  return isNoSpace(error) ? new StoreError({ kind: 'no-space', path }, { cause: error }) : error;
}

export function isStoreFault(error: unknown, kind: StoreFault['kind']): error is StoreError {
  return error instanceof StoreError && error.fault.kind === kind;
}
