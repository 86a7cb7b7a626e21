/** A log for servers under test that ought to have nothing to warn of: `assertQuiet` says whether they had. */
export class FailingLog {
  readonly lines: string[] = [];

  debug(): void {}
  info(): void {}

  warn(fields: object, message: string): void {
    this.#keep('warn', fields, message);
  }

  error(fields: object, message: string): void {
    this.#keep('error', fields, message);
  }

  #keep(level: string, fields: object, message: string): void {
    const cause = 'err' in fields && fields.err instanceof Error ? fields.err.stack : JSON.stringify(fields);
    this.lines.push(`${level}: ${message}: ${cause}`);
  }

  /** @throws {Error} with what was logged, if anything was. */
  assertQuiet(): void {
    if (this.lines.length > 0) throw new Error(`the server logged:\n${this.lines.join('\n')}`);
  }
}
