/** What is wrong with a delta bundle. */
export type BundleFault =
  /** The stream ends before the bundle does: the rest may be asked for. */
  | 'truncated'
  /** A field holds what it must not. */
  | 'malformed'
  /** A count or a length is above its named limit. */
  | 'limit'
  /** Another format, or a version or flag that this program does not know. */
  | 'version'
  /** A table of contents that has not the digest it is announced with. */
  | 'digest-mismatch'
  /** A table of contents packed against one that is not at hand. */
  | 'dictionary-unknown';

/** The one error of making and reading delta bundles. */
export class BundleError extends Error {
  readonly kind: BundleFault;

  constructor(kind: BundleFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BundleError';
    this.kind = kind;
  }
}
