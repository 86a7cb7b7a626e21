import type { Digest } from '../../schemas/oci/digest.ts';
import { formatBytes } from '../format-bytes.ts';

/** All in bytes on the disk. */
export type QuotaFigures = {
  readonly neededBytes: number;
  readonly limitBytes: number;
  readonly usedBytes: number;
  /** Kept for contents of other pulls. */
  readonly reservedBytes: number;
  /** Of the used ones: what nothing needs. */
  readonly evictableBytes: number;
};

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
  /** The disk is full. Nothing is lost; write again once there is room. */
  | { readonly kind: 'no-space'; readonly path: string }
  /** What is asked for does not fit, even without all that could be evicted. Nothing was fetched or removed. */
  | ({ readonly kind: 'quota-exceeded' } & QuotaFigures)
  | { readonly kind: 'closed' };

function describe(fault: StoreFault): string {
  switch (fault.kind) {
    case 'digest-mismatch':
      return `content ${fault.digest} arrived as ${fault.actual}: refused`;
    case 'size-mismatch':
      return `content ${fault.digest} of ${fault.sizeBytes} bytes arrived with ${fault.actualBytes}: refused`;
    case 'no-space':
      return `the disk is full that holds ${fault.path}: no space left on the device; free some of it, nothing is lost`;
    case 'quota-exceeded':
      return describeQuota(fault);
    case 'closed':
      return 'the content store is closed';
    default:
      return fault satisfies never;
  }
}

function describeQuota(fault: QuotaFigures): string {
  const { neededBytes, limitBytes, usedBytes, reservedBytes, evictableBytes } = fault;
  const roomBytes = Math.max(0, limitBytes - usedBytes - reservedBytes + evictableBytes);
  const needed = usedBytes - evictableBytes;
  return (
    `no room in the store: ${formatBytes(neededBytes)} are needed and ${formatBytes(roomBytes)} can be had ` +
    `of the quota of ${formatBytes(limitBytes)} (images in use take up ${formatBytes(needed)}, pulls under way ` +
    `will take ${formatBytes(reservedBytes)}); remove images that are not needed (ctr images rm) or raise store.quotaBytes`
  );
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
/** SQLITE_FULL of sqlite3.h, in the `errcode` of node:sqlite's errors. */
const SQLITE_FULL = 13;

/** True for an error of the system or of SQLite that means "the disk is full". */
export function isNoSpace(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ('errcode' in error && error.errcode === SQLITE_FULL) return true;
  return 'code' in error && typeof error.code === 'string' && NO_SPACE_CODES.has(error.code);
}

/** A full disk becomes a {@link StoreError} of kind `no-space`; anything else stays what it is. */
export function asStoreError(error: unknown, path: string): unknown {
  return isNoSpace(error) ? new StoreError({ kind: 'no-space', path }, { cause: error }) : error;
}

export function isStoreFault(error: unknown, kind: StoreFault['kind']): error is StoreError {
  return error instanceof StoreError && error.fault.kind === kind;
}
