import type { DatabaseSync } from 'node:sqlite';

/** Each entry brings the database from the version of its index to the next; entries are never edited. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE images (
     manifest_digest TEXT PRIMARY KEY,
     index_digest TEXT,
     config_digest TEXT NOT NULL,
     toc_digest TEXT NOT NULL,
     host TEXT NOT NULL,
     repository TEXT NOT NULL,
     platform TEXT NOT NULL,
     layers TEXT NOT NULL,          -- JSON: ImageLayer[]
     state TEXT NOT NULL CHECK (state IN ('pulling', 'complete')),
     error TEXT,
     contents_total INTEGER NOT NULL,
     bytes_total INTEGER NOT NULL,
     boot_id TEXT NOT NULL,         -- the system's boot in which contents were last written
     touched_ms INTEGER NOT NULL    -- when it was last pulled, milliseconds since 1970
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE chains (
     chain_id TEXT NOT NULL,
     depth INTEGER NOT NULL,        -- number of layers
     manifest_digest TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
     PRIMARY KEY (chain_id, manifest_digest)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX chains_by_image ON chains (manifest_digest);
   CREATE TABLE names (
     namespace TEXT NOT NULL,
     reference TEXT NOT NULL,
     platform TEXT NOT NULL,
     manifest_digest TEXT NOT NULL REFERENCES images ON DELETE CASCADE,
     registered INTEGER NOT NULL,
     PRIMARY KEY (namespace, reference, platform)
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX names_by_image ON names (manifest_digest);
   CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
   CREATE TABLE traces (
     id INTEGER PRIMARY KEY,
     manifest_digest TEXT NOT NULL,
     repository TEXT NOT NULL,
     host TEXT NOT NULL,
     started_ms INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE opens (
     trace_id INTEGER NOT NULL REFERENCES traces ON DELETE CASCADE,
     position INTEGER NOT NULL,
     path BLOB NOT NULL,
     PRIMARY KEY (trace_id, position)
   ) STRICT, WITHOUT ROWID;`,
  `ALTER TABLE images ADD COLUMN used_ms INTEGER NOT NULL DEFAULT 0; -- what eviction goes by
   UPDATE images SET used_ms = touched_ms`,
  `CREATE TABLE forms (             -- metadata images of complete trees
     chain_id TEXT PRIMARY KEY,
     digest TEXT NOT NULL,         -- of the file
     size_bytes INTEGER NOT NULL,
     version INTEGER NOT NULL      -- of the program's writer
   ) STRICT, WITHOUT ROWID;
   CREATE TRIGGER forms_go_with_chains AFTER DELETE ON chains BEGIN
     DELETE FROM forms WHERE chain_id = OLD.chain_id
       AND NOT EXISTS (SELECT 1 FROM chains WHERE chain_id = OLD.chain_id);
   END`,
];

/**
 * Locks the database for this process and brings it up to date.
 * @throws {Error} when another process has it, or it is of a newer version than this program knows.
 */
export function migrate(db: DatabaseSync): void {
  db.exec(
    'PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON',
  );
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (version > MIGRATIONS.length) {
    throw new Error(
      `the worker's database is of version ${version}; this program knows ${MIGRATIONS.length}`,
    );
  }
  for (const [index, sql] of MIGRATIONS.entries()) {
    if (index < version) continue;
    db.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${index + 1}; COMMIT`);
  }
}
