import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { METADATA_MIGRATIONS } from './metadata-migrations.ts';
import { chainIdOf, formOf, idOf, INFO_COLUMNS, infoOf, integerOf } from './metadata-row.ts';
import type {
  EpochNs,
  ImageForm,
  Labels,
  SnapshotId,
  SnapshotInfo,
  SnapshotKey,
  SnapshotKind,
  Usage,
} from './snapshot.ts';
import { SnapshotterError } from './snapshotter-error.ts';

/** Rows read at a time by `list`. */
const LIST_PAGE_ROWS = 100;

/** The trees under a snapshot: local ones nearest first, and below them the nearest remote one, if any. */
export type Ancestry = {
  readonly localIds: readonly SnapshotId[];
  readonly remote: ChainId | undefined;
  /** Whether one of the local ones was written with `metacopy=on`. */
  readonly hasMetacopy: boolean;
};

export type NewSnapshot = {
  readonly key: SnapshotKey;
  readonly parent: SnapshotKey | undefined;
  readonly labels: Labels;
  readonly nowNs: EpochNs;
} & (
  | { readonly kind: 'active' | 'view'; readonly form: ImageForm | undefined }
  | { readonly kind: 'remote'; readonly chainId: ChainId }
);

export type CommitChange = {
  readonly key: SnapshotKey;
  readonly name: SnapshotKey;
  readonly labels: Labels;
  /** Taken as parent when the active snapshot has none. */
  readonly parent: SnapshotKey | undefined;
  readonly usage: Usage;
  readonly nowNs: EpochNs;
};

const SELECT_INFO = `SELECT ${INFO_COLUMNS} FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent_id`;
const SELECT_CHAIN = `WITH RECURSIVE chain (id, parent_id, chain_id, form, depth) AS (
    SELECT id, parent_id, chain_id, form, 0 FROM snapshots WHERE id = ?
    UNION ALL
    SELECT s.id, s.parent_id, s.chain_id, s.form, chain.depth + 1 FROM chain JOIN snapshots s ON s.id = chain.parent_id
    WHERE chain.chain_id IS NULL
  ) SELECT id, chain_id, form FROM chain ORDER BY depth`;

/**
 * What is known about the snapshots, in one SQLite file. Every method is one transaction and synchronous, so two
 * never interleave; a change is on disk when its method returns. One process at a time may have the file open.
 */
export class Metadata {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @throws {Error} when the file cannot be opened, is in use by another process, or is of a later version. */
  constructor(path: string) {
    this.#db = new DatabaseSync(path, { enableForeignKeyConstraints: true });
    try {
      // EXCLUSIVE: two daemons on one root would delete each other's directories
      this.#db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
      this.#migrate();
    } catch (error) {
      this.#db.close();
      if (!isBusy(error)) throw error;
      throw new Error(`snapshot metadata ${path} is in use by another process`, { cause: error });
    }
  }

  /** @throws {SnapshotterError} not-found */
  get(key: SnapshotKey): SnapshotInfo {
    const info = this.find(key);
    if (info === undefined) throw new SnapshotterError('not-found', `snapshot ${key} does not exist`);
    return info;
  }

  find(key: SnapshotKey): SnapshotInfo | undefined {
    const row = this.#prepare(`${SELECT_INFO} WHERE s.key = ?`).get(key);
    return row === undefined ? undefined : infoOf(row);
  }

  /** All snapshots by id, read in pages: those made or removed meanwhile may be missing or present. */
  *list(): Generator<SnapshotInfo, void, undefined> {
    const page = this.#prepare(`${SELECT_INFO} WHERE s.id > ? ORDER BY s.id LIMIT ${LIST_PAGE_ROWS}`);
    for (let after = 0; ; ) {
      const infos = page.all(after).map(infoOf);
      yield* infos;
      const last = infos.at(-1);
      if (last === undefined || infos.length < LIST_PAGE_ROWS) return;
      after = last.id;
    }
  }

  /** The ids in use. */
  ids(): Set<SnapshotId> {
    const ids = new Set<SnapshotId>();
    for (const row of this.#prepare('SELECT id FROM snapshots').iterate()) ids.add(idOf(row['id']));
    return ids;
  }

  /** The trees of `key` itself (when committed) and of all that it builds on. @throws {SnapshotterError} not-found */
  ancestry(key: SnapshotKey): Ancestry {
    const localIds: SnapshotId[] = [];
    let hasMetacopy = false;
    for (const row of this.#prepare(SELECT_CHAIN).iterate(this.get(key).id)) {
      if (row['chain_id'] !== null) return { localIds, remote: chainIdOf(row['chain_id']), hasMetacopy };
      localIds.push(idOf(row['id']));
      hasMetacopy ||= formOf(row['form']) === 'complete-metacopy';
    }
    return { localIds, remote: undefined, hasMetacopy };
  }

  /** Usage as stored at commit. @throws {SnapshotterError} not-found */
  usage(key: SnapshotKey): Usage {
    const row = this.#prepare('SELECT size_bytes, inodes FROM snapshots WHERE key = ?').get(key);
    if (row === undefined) throw new SnapshotterError('not-found', `snapshot ${key} does not exist`);
    return { sizeBytes: Number(integerOf(row['size_bytes'])), inodes: Number(integerOf(row['inodes'])) };
  }

  /** The committed remote snapshot of `chainId` over `parent`. */
  findRemote(chainId: ChainId, parent: SnapshotKey | undefined): SnapshotInfo | undefined {
    const row = this.#prepare(`${SELECT_INFO} WHERE s.chain_id = ? AND p.key IS ?`).get(
      chainId,
      parent ?? null,
    );
    return row === undefined ? undefined : infoOf(row);
  }

  /** How many committed snapshots stand for `chainId`. */
  countRemote(chainId: ChainId): number {
    const row = this.#prepare('SELECT count(*) AS n FROM snapshots WHERE chain_id = ?').get(chainId);
    return Number(integerOf(row?.['n']));
  }

  /**
   * Inserts a snapshot. `place` runs inside the transaction with the new id; when it throws, nothing was inserted.
   *
   * @throws {SnapshotterError} already-exists, not-found (parent), invalid-argument (parent is not committed)
   */
  insert(made: NewSnapshot, place?: (id: SnapshotId) => void): SnapshotInfo {
    return this.#transaction(() => {
      const parentId = made.parent === undefined ? null : this.#parentId(made.parent);
      this.#assertFree(made.key);
      const { lastInsertRowid } = this.#prepare(
        `INSERT INTO snapshots (key, kind, parent_id, chain_id, labels, created_ns, updated_ns, form)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      ).run(
        made.key,
        made.kind === 'remote' ? 'committed' : made.kind,
        parentId,
        made.kind === 'remote' ? made.chainId : null,
        JSON.stringify(made.labels),
        made.nowNs,
        made.nowNs,
        made.kind === 'remote' ? null : (made.form ?? null),
      );
      place?.(idOf(BigInt(lastInsertRowid)));
      return this.get(made.key);
    });
  }

  /**
   * Makes the active snapshot `key` the committed one `name`, with the labels given and no others.
   *
   * @throws {SnapshotterError} already-exists (name), not-found, failed-precondition (not active),
   *   invalid-argument (it has another parent than the one wanted, or the parent is not committed)
   */
  commit(change: CommitChange): SnapshotInfo {
    return this.#transaction(() => {
      this.#assertFree(change.name);
      const active = this.get(change.key);
      assertKind(active, 'active');
      if (change.parent !== undefined && active.parent !== undefined && change.parent !== active.parent) {
        throw new SnapshotterError('invalid-argument', `cannot change the parent of ${change.key} on commit`);
      }
      const parent = active.parent ?? change.parent;
      this.#prepare(
        `UPDATE snapshots SET key = ?, kind = 'committed', parent_id = ?, labels = ?, created_ns = ?,
         updated_ns = ?, size_bytes = ?, inodes = ? WHERE id = ?`,
      ).run(
        change.name,
        parent === undefined ? null : this.#parentId(parent),
        JSON.stringify(change.labels),
        change.nowNs,
        change.nowNs,
        change.usage.sizeBytes,
        change.usage.inodes,
        active.id,
      );
      return this.get(change.name);
    });
  }

  /** @throws {SnapshotterError} not-found */
  setLabels(key: SnapshotKey, change: (labels: Labels) => Labels, nowNs: EpochNs): SnapshotInfo {
    return this.#transaction(() => {
      const { id, labels } = this.get(key);
      this.#prepare('UPDATE snapshots SET labels = ?, updated_ns = ? WHERE id = ?').run(
        JSON.stringify(change(labels)),
        nowNs,
        id,
      );
      return this.get(key);
    });
  }

  /** Removes a snapshot and returns what it was. @throws {SnapshotterError} not-found, failed-precondition */
  remove(key: SnapshotKey): SnapshotInfo {
    return this.#transaction(() => {
      const info = this.get(key);
      if (this.#prepare('SELECT 1 FROM snapshots WHERE parent_id = ? LIMIT 1').get(info.id) !== undefined) {
        throw new SnapshotterError('failed-precondition', `cannot remove snapshot ${key}: it has children`);
      }
      this.#prepare('DELETE FROM snapshots WHERE id = ?').run(info.id);
      return info;
    });
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }

  #assertFree(key: SnapshotKey): void {
    if (this.find(key) !== undefined) {
      throw new SnapshotterError('already-exists', `snapshot ${key} already exists`);
    }
  }

  #parentId(key: SnapshotKey): SnapshotId {
    const parent = this.find(key);
    if (parent === undefined)
      throw new SnapshotterError('not-found', `parent snapshot ${key} does not exist`);
    if (parent.kind !== 'committed') {
      throw new SnapshotterError('invalid-argument', `parent snapshot ${key} is not committed`);
    }
    return parent.id;
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      statement.setReadBigInts(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #transaction<T>(body: () => T): T {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = body();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #migrate(): void {
    this.#transaction(() => {
      const version = Number(integerOf(this.#prepare('PRAGMA user_version').get()?.['user_version']));
      if (version > METADATA_MIGRATIONS.length) {
        throw new Error(
          `snapshot metadata is of version ${version}, this program knows ${METADATA_MIGRATIONS.length}`,
        );
      }
      for (const migration of METADATA_MIGRATIONS.slice(version)) this.#db.exec(migration);
      this.#db.exec(`PRAGMA user_version = ${METADATA_MIGRATIONS.length}`);
    });
  }
}

/** @throws {SnapshotterError} failed-precondition when `info` is of another kind. */
export function assertKind(info: SnapshotInfo, ...kinds: readonly SnapshotKind[]): void {
  if (!kinds.includes(info.kind)) {
    throw new SnapshotterError(
      'failed-precondition',
      `snapshot ${info.key} is ${info.kind}, not ${kinds.join(' or ')}`,
    );
  }
}

/** SQLITE_BUSY: another connection holds the file. */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5;
}
