/** Why a caller is not let in; `server/errors.ts` turns each into an HTTP answer. */
export type AccessFault =
  /** Nobody has logged in, or not rightly. Which of the two, and whether the user exists, is not told. */
  | { readonly kind: 'unauthorized'; readonly challenge: string }
  /** The caller may not, whether or not what was asked for exists. */
  | { readonly kind: 'denied' }
  /** More logins are being checked than there may be at once. */
  | { readonly kind: 'login-busy'; readonly retryAfterS: number };

export class AccessError extends Error {
  readonly fault: AccessFault;

  constructor(fault: AccessFault, options?: ErrorOptions) {
    super(fault.kind, options);
    this.name = 'AccessError';
    this.fault = fault;
  }
}
