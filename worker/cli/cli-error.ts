/** A failure that the command line explains: what went wrong and what to do about it. */
export class CliError extends Error {
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: ErrorOptions & { hint?: string } = {}) {
    super(message, options);
    this.name = 'CliError';
    this.code = code;
    this.hint = options.hint;
  }
}
