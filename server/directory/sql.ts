/**
 * The little of SQL that the directory needs, the same over PGlite and PostgreSQL: `$1` parameters, `bytea`
 * as Uint8Array both ways, `bigint` as number (nothing here comes near 2^53).
 */
export interface Sql {
  /** Runs one statement. Rows come back as objects keyed by column name, not yet checked. */
  query(text: string, parameters?: readonly SqlParameter[]): Promise<readonly SqlRow[]>;
  /** Runs a script of several statements without parameters. */
  script(text: string): Promise<void>;
}

export type SqlParameter = string | number | boolean | null | Uint8Array | readonly string[];
export type SqlRow = Readonly<Record<string, unknown>>;

export interface SqlDatabase extends Sql {
  /** All of `work` on one connection; committed when it resolves, rolled back when it rejects. */
  transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}
