/** Why the mirror cannot give bytes from a fill. */
export type MirrorFault =
  /** No room, the disk in trouble, or the fill given up: the upstream itself has to be read instead. */
  | { readonly kind: 'not-kept' }
  /** The upstream's bytes are not those of the digest; nothing of them is kept. */
  | { readonly kind: 'wrong-digest'; readonly actual: string }
  /** The upstream refuses this caller what it was to fetch. */
  | { readonly kind: 'refused'; readonly status: number }
  /** The upstream cannot answer now. */
  | { readonly kind: 'unavailable'; readonly status: number; readonly retryAfter?: string }
  /** It sent something else than asked for, or less. */
  | { readonly kind: 'protocol'; readonly reason: string };

export class MirrorError extends Error {
  readonly fault: MirrorFault;

  constructor(fault: MirrorFault, options?: ErrorOptions) {
    super(fault.kind, options);
    this.name = 'MirrorError';
    this.fault = fault;
  }
}

/** True where somebody else's credentials may get what this one's did not. */
export function isRefusal(error: unknown): boolean {
  return error instanceof MirrorError && error.fault.kind === 'refused';
}

export function isNotKept(error: unknown): boolean {
  return error instanceof MirrorError && error.fault.kind === 'not-kept';
}
