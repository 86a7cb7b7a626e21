import { DirectoryError } from '../../extensions/starlight/directory.ts';
import { type Digest, isDigest } from '../../schemas/oci/digest.ts';
import type { SqlRow } from './sql.ts';

/** Typed access to one row; every method throws {DirectoryError} of kind `corrupt` for another type. */
export class RowReader {
  readonly #row: SqlRow;

  constructor(row: SqlRow) {
    this.#row = row;
  }

  text(column: string): string {
    const value = this.#row[column];
    return typeof value === 'string' ? value : fail(column);
  }

  digest(column: string): Digest {
    const value = this.#row[column];
    return isDigest(value) ? value : fail(column);
  }

  count(column: string): number {
    const value = this.#row[column];
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : fail(column);
  }

  bytes(column: string): Uint8Array {
    const value = this.#row[column];
    return value instanceof Uint8Array ? value : fail(column);
  }

  flag(column: string): boolean {
    const value = this.#row[column];
    return typeof value === 'boolean' ? value : fail(column);
  }
}

function fail(column: string): never {
  throw new DirectoryError(
    { kind: 'corrupt', what: column },
    `the directory database holds an unexpected value in ${column}`,
  );
}
