export type RegistryAuthErrorKind =
  /** There is nothing to meet the challenge with, or what was tried was refused. */
  | 'unauthorized'
  /** The token service cannot be reached. */
  | 'unreachable'
  /** The token service cannot answer at present. */
  | 'unavailable';

/** A challenge that was not met. Its message carries no credentials. */
export class RegistryAuthError extends Error {
  readonly kind: RegistryAuthErrorKind;

  constructor(kind: RegistryAuthErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RegistryAuthError';
    this.kind = kind;
  }
}
