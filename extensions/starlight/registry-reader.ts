import type { Digest } from '../../schemas/oci/digest.ts';
import type { Descriptor } from '../../schemas/oci/types.ts';

/** A manifest as the registry holds it: its bytes, of which `digest` is verified to be the digest. */
export interface RegistryManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** `length` bytes from byte `offset` on. */
export interface BlobRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * A blob on its way. Its bytes are **not** verified: whoever reads the whole checks its digest, whoever reads a
 * range checks what is inside. Read `bytes` to its end, or abort the signal that was given, or `return()` its
 * iterator: each lets go of the file or connection.
 */
export interface RegistryBlob {
  /** Of what `bytes` yields: the range's length where one was asked for. */
  readonly sizeBytes: number;
  readonly bytes: AsyncIterable<Uint8Array>;
}

/** The value of the caller's own Authorization header; undefined for an anonymous caller. */
export type CallerAuthorization = string | undefined;

/**
 * Reads a registry on behalf of a caller, with that caller's rights. A miss (unknown repository, manifest or
 * blob) is a returned `undefined`; everything else that keeps a thing from being read is thrown.
 *
 * Every method throws {RegistryReadError}, and the signal's reason when that is aborted.
 */
export interface RegistryReader {
  /**
   * `reference` is a tag or a digest; answers image manifests and indexes alike. For a digest, the bytes are
   * verified against it.
   */
  manifest(
    name: string,
    reference: string,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryManifest | undefined>;

  /** The whole blob, or exactly the range asked for: a range that does not lie in the blob is 'protocol'. */
  blob(
    name: string,
    digest: Digest,
    range: BlobRange | undefined,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryBlob | undefined>;

  /**
   * What refers to `digest`, of one artifact type where given, in the registry's order; the fallback tag is
   * read where the registry lacks the API. Nothing referring to it is an empty list.
   */
  referrers(
    name: string,
    digest: Digest,
    artifactType: string | undefined,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<readonly Descriptor[]>;
}

export type RegistryReadFault =
  /** 401: the caller must present (other) credentials; the registry's WWW-Authenticate values tell which. */
  | { readonly kind: 'unauthorized'; readonly challenges: readonly string[] }
  /** 403: the caller is known and may not. */
  | { readonly kind: 'denied' }
  /** Unreachable, too slow, 429 or 5xx: the same may work later. */
  | { readonly kind: 'unavailable'; readonly status?: number; readonly retryAfter?: string }
  /** The registry broke the protocol: another digest than asked for, no range, a document that is none, too large. */
  | { readonly kind: 'protocol' };

/** Why something could not be read. */
export class RegistryReadError extends Error {
  readonly fault: RegistryReadFault;

  constructor(fault: RegistryReadFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RegistryReadError';
    this.fault = fault;
  }
}
