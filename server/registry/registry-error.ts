import type { Digest } from '../../schemas/oci/digest.ts';

/** Why a registry does not do what it was asked; `server/errors.ts` turns each into an HTTP answer. */
export type RegistryFault =
  | { readonly kind: 'endpoint-unknown' }
  | { readonly kind: 'method-unsupported'; readonly allow: readonly string[] }
  | { readonly kind: 'parameter-invalid'; readonly reason: string }
  | { readonly kind: 'namespace-unknown'; readonly namespace: string }
  | { readonly kind: 'name-invalid'; readonly name: string }
  | { readonly kind: 'name-unknown'; readonly name: string }
  | { readonly kind: 'digest-invalid'; readonly reason: string }
  | { readonly kind: 'size-invalid'; readonly reason: string }
  | { readonly kind: 'blob-unknown'; readonly digest: string }
  | { readonly kind: 'range-unsatisfiable'; readonly sizeBytes: number }
  | { readonly kind: 'upload-unknown'; readonly session: string }
  | { readonly kind: 'too-many-uploads'; readonly retryAfterS: number }
  /** Another request is writing to the same upload. */
  | { readonly kind: 'upload-busy'; readonly session: string }
  /** A chunk that does not begin where the upload stands. */
  | { readonly kind: 'upload-out-of-order'; readonly location: string; readonly offset: number }
  | { readonly kind: 'manifest-unknown'; readonly reference: string }
  | { readonly kind: 'manifest-invalid'; readonly reason: string }
  | { readonly kind: 'manifest-too-large'; readonly limitBytes: number }
  | { readonly kind: 'manifest-blob-unknown'; readonly digest: Digest }
  | { readonly kind: 'too-many-tags'; readonly limit: number }
  | { readonly kind: 'is-manifest'; readonly digest: Digest }
  | { readonly kind: 'storage-full' }
  | { readonly kind: 'upstream-unreachable' }
  | { readonly kind: 'upstream-timeout' }
  /** It is not asked now: it was away, or said by Retry-After when to come back. `status` is what it said last. */
  | {
      readonly kind: 'upstream-withheld';
      readonly status: 429 | 503;
      readonly retryAfterSeconds: number;
    }
  /** Its turn did not come in time. */
  | { readonly kind: 'upstream-busy'; readonly retryAfterSeconds: number }
  /** The credentials with which the proxy asks, which may be none, do not suffice there. */
  | { readonly kind: 'upstream-denied' }
  | { readonly kind: 'upstream-protocol'; readonly reason: string };

export class RegistryError extends Error {
  readonly fault: RegistryFault;

  constructor(fault: RegistryFault, options?: ErrorOptions) {
    super(fault.kind, options);
    this.name = 'RegistryError';
    this.fault = fault;
  }
}

/** True where an upstream was asked and nothing of it came back. */
export function isUpstreamAway(error: unknown): boolean {
  const kind = error instanceof RegistryError ? error.fault.kind : undefined;
  return kind === 'upstream-unreachable' || kind === 'upstream-timeout';
}
