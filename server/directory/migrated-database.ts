import { DirectoryError } from '../../extensions/starlight/directory.ts';
import { type Migration, migrate } from './migrations.ts';
import type { Sql, SqlDatabase, SqlParameter, SqlRow } from './sql.ts';

/** A database of which nothing is to be had until its schema is up to date: till then it counts as `unavailable`. */
export class MigratedDatabase implements SqlDatabase {
  readonly #database: SqlDatabase;
  #migrated = false;

  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  /** May be tried again. @throws what the database throws */
  async migrate(migrations: readonly Migration[]): Promise<void> {
    await migrate(this.#database, migrations);
    this.#migrated = true;
  }

  async query(text: string, parameters?: readonly SqlParameter[]): Promise<readonly SqlRow[]> {
    return await this.#ready().query(text, parameters);
  }

  async script(text: string): Promise<void> {
    await this.#ready().script(text);
  }

  async transaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return await this.#ready().transaction(work);
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  #ready(): SqlDatabase {
    if (this.#migrated) return this.#database;
    throw new DirectoryError({ kind: 'unavailable' }, 'the directory database has not been opened yet');
  }
}
