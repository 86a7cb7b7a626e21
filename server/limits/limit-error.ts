/** Which limit a request breaks; `server/errors.ts` turns each into an HTTP answer. */
export type LimitFault =
  | { readonly kind: 'target-too-long'; readonly limitBytes: number }
  | { readonly kind: 'headers-too-many'; readonly limit: number }
  /** A header that may stand once stands twice: which of the two counts is what an attacker would choose. */
  | { readonly kind: 'header-repeated'; readonly name: string }
  | { readonly kind: 'too-many-requests'; readonly retryAfterS: number };

export class LimitError extends Error {
  readonly fault: LimitFault;

  constructor(fault: LimitFault, options?: ErrorOptions) {
    super(fault.kind, options);
    this.name = 'LimitError';
    this.fault = fault;
  }
}
