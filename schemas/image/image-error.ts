import type { Digest } from '../oci/digest.ts';

/** What went wrong between an image's place and us. */
export type ImageFault =
  | { readonly kind: 'invalid-name'; readonly name: string }
  | { readonly kind: 'not-found'; readonly what: string }
  | { readonly kind: 'unauthorized'; readonly host: string }
  | { readonly kind: 'denied'; readonly host: string }
  | { readonly kind: 'unreachable'; readonly host: string }
  /** The registry answered something that it should not. */
  | { readonly kind: 'refused'; readonly host: string; readonly status: number }
  /** This machine's disk is full, or not to be written to. */
  | { readonly kind: 'disk'; readonly directory: string }
  | { readonly kind: 'digest-mismatch'; readonly expected: Digest }
  /** A document or layout that is not what it should be. */
  | { readonly kind: 'malformed'; readonly what: string }
  /** Sound, but nothing that can be converted. */
  | { readonly kind: 'unsupported'; readonly what: string };

/** The one error of reading, writing and converting images. Its message carries no credentials. */
export class ImageError extends Error {
  readonly fault: ImageFault;

  constructor(fault: ImageFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ImageError';
    this.fault = fault;
  }

  get kind(): ImageFault['kind'] {
    return this.fault.kind;
  }
}
