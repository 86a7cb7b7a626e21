/**
 * The statements that make the metadata database, oldest first; `PRAGMA user_version` counts those applied.
 * A statement that was released never changes: add another.
 *
 * AUTOINCREMENT: an id names a directory, and a removed snapshot's directory lives on until it is deleted.
 */
export const METADATA_MIGRATIONS: readonly string[] = [
  `CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('active', 'view', 'committed')),
    parent_id INTEGER REFERENCES snapshots (id) ON DELETE RESTRICT,
    chain_id TEXT CHECK (chain_id IS NULL OR kind = 'committed'),
    labels TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    updated_ns INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    inodes INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE INDEX snapshots_by_parent ON snapshots (parent_id);
  CREATE INDEX snapshots_by_chain ON snapshots (chain_id) WHERE chain_id IS NOT NULL;`,
  // what was made before saw its image served
  `ALTER TABLE snapshots ADD COLUMN form TEXT CHECK (form IN ('served', 'complete', 'complete-metacopy'));`,
];
