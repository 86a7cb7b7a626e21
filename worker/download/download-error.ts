export type DownloadErrorKind =
  /** The proxy cannot be reached, or breaks off again and again. */
  | 'unreachable'
  /** The proxy (or its registry) cannot answer at present. */
  | 'unavailable'
  | 'not-converted'
  | 'not-found'
  | 'platform-unknown'
  | 'unauthorized'
  | 'denied'
  | 'invalid-request'
  /** What came is no bundle, or not the bundle that was asked for. */
  | 'malformed'
  /** A document or content is not what its digest says, or nothing vouches for it. */
  | 'untrusted'
  /** No room in the store. */
  | 'no-space';

/** A pull or a fetch that failed; `kind` decides whether it may be tried again. */
export class DownloadError extends Error {
  readonly kind: DownloadErrorKind;

  constructor(kind: DownloadErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DownloadError';
    this.kind = kind;
  }
}

/** True for failures that time may heal. */
export function isTransient(error: unknown): boolean {
  return error instanceof DownloadError && (error.kind === 'unreachable' || error.kind === 'unavailable');
}

/** Codes of the proxy's error bodies: those of the distribution spec and its own. */
const KIND_OF_CODE: Readonly<Record<string, DownloadErrorKind>> = {
  NOT_CONVERTED: 'not-converted',
  NAME_UNKNOWN: 'not-found',
  MANIFEST_UNKNOWN: 'not-found',
  BLOB_UNKNOWN: 'not-found',
  PLATFORM_UNKNOWN: 'platform-unknown',
  UNAUTHORIZED: 'unauthorized',
  DENIED: 'denied',
  UNSUPPORTED: 'invalid-request',
  INVALID_REQUEST: 'invalid-request',
  TOOMANYREQUESTS: 'unavailable',
  UNAVAILABLE: 'unavailable',
};

/** What an HTTP answer other than 2xx means. */
export function kindOfAnswer(statusCode: number, code: string | undefined): DownloadErrorKind {
  const known = code === undefined ? undefined : KIND_OF_CODE[code];
  if (known !== undefined) return known;
  if (statusCode === 401) return 'unauthorized';
  if (statusCode === 403) return 'denied';
  if (statusCode === 404) return 'not-found';
  if (statusCode === 408 || statusCode === 429 || statusCode >= 500) return 'unavailable';
  return 'invalid-request';
}
