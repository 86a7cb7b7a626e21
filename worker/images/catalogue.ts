import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { type Digest, parseDigest } from '../../schemas/oci/digest.ts';
import type { Image, ImageLayer, ImageName, ImageRecord } from './image.ts';
import { migrate } from './migrations.ts';

type Row = Record<string, SQLOutputValue>;

/** A daemon that is just ending may still hold the database. */
const LOCK_WAIT_MS = 2000;

/** What registering an image needs beside the image itself. */
export type ImageTotals = { readonly contentsTotal: number; readonly bytesTotal: number };

/**
 * Which images are here, under which names, and how far they are: a SQLite database. It is small (a row per
 * image, layer and name), so its calls are synchronous.
 */
export class Catalogue {
  readonly db: DatabaseSync;
  readonly #onComplete: ((manifestDigest: Digest) => void)[] = [];
  readonly #onRemoved: (() => void)[] = [];

  /** @throws {Error} when another daemon uses it, and where it cannot be opened. */
  constructor(path: string) {
    try {
      this.db = new DatabaseSync(path, { timeout: LOCK_WAIT_MS });
    } catch (cause) {
      throw new Error(`${path} cannot be opened`, { cause });
    }
    try {
      migrate(this.db);
    } catch (cause) {
      this.db.close();
      if (!(cause instanceof Error) || !cause.message.includes('locked')) throw cause;
      throw new Error(`${path} is in use by another daemon`, { cause });
    }
  }

  close(): void {
    this.db.close();
  }

  /** Notes an image as being pulled; one that is known keeps its state and takes the new source. */
  register(image: Image, totals: ImageTotals, bootId: string, nowMs: number): void {
    this.#transaction(() => {
      this.db
        .prepare(
          `INSERT INTO images (manifest_digest, index_digest, config_digest, toc_digest, host, repository, platform,
             layers, state, contents_total, bytes_total, boot_id, touched_ms, used_ms)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'pulling', ?, ?, ?, ?, ?)
           ON CONFLICT (manifest_digest) DO UPDATE SET index_digest = coalesce(excluded.index_digest, index_digest),
             host = excluded.host, repository = excluded.repository, touched_ms = excluded.touched_ms,
             used_ms = excluded.used_ms`,
        )
        .run(
          image.manifestDigest,
          image.indexDigest ?? null,
          image.configDigest,
          image.tocDigest,
          image.host,
          image.repository,
          image.platform,
          JSON.stringify(image.layers),
          totals.contentsTotal,
          totals.bytesTotal,
          bootId,
          nowMs,
          nowMs,
        );
      const insert = this.db.prepare('INSERT OR IGNORE INTO chains VALUES (?, ?, ?)');
      for (const [row, layer] of image.layers.entries())
        insert.run(layer.chainId, row + 1, image.manifestDigest);
    });
  }

  find(manifestDigest: Digest): ImageRecord | undefined {
    const row = this.db.prepare('SELECT * FROM images WHERE manifest_digest = ?').get(manifestDigest);
    return row === undefined ? undefined : recordOf(row);
  }

  /** The image that a name was last pulled as. */
  findByName(reference: string, platform: string): ImageRecord | undefined {
    const row = this.db
      .prepare(
        `SELECT images.* FROM names JOIN images USING (manifest_digest)
         WHERE reference = ? AND names.platform = ? ORDER BY touched_ms DESC LIMIT 1`,
      )
      .get(reference, platform);
    return row === undefined ? undefined : recordOf(row);
  }

  /** Every image, the last touched first. */
  list(): ImageRecord[] {
    return this.db
      .prepare('SELECT * FROM images ORDER BY touched_ms DESC, manifest_digest')
      .all()
      .map(recordOf);
  }

  /** An image that has `chainId` among its layers, a complete one if there is one; and the number of layers. */
  findByChain(chainId: ChainId): { image: ImageRecord; depth: number } | undefined {
    const row = this.db
      .prepare(
        `SELECT images.*, depth FROM chains JOIN images USING (manifest_digest) WHERE chain_id = ?
         ORDER BY state = 'complete' DESC, touched_ms DESC LIMIT 1`,
      )
      .get(chainId);
    return row === undefined ? undefined : { image: recordOf(row), depth: Number(row['depth']) };
  }

  /** Calls back, within the call that makes it so, whenever an image has become complete. */
  onComplete(listener: (manifestDigest: Digest) => void): void {
    this.#onComplete.push(listener);
  }

  /** Calls back, within the call that removes it, whenever an image has been removed. */
  onRemoved(listener: () => void): void {
    this.#onRemoved.push(listener);
  }

  /** True for a manifest, index, config or table of contents of an image. */
  isDocument(digest: Digest): boolean {
    const row = this.db
      .prepare('SELECT 1 FROM images WHERE ? IN (manifest_digest, index_digest, config_digest, toc_digest)')
      .get(digest);
    return row !== undefined;
  }

  setComplete(manifestDigest: Digest): void {
    this.db
      .prepare(`UPDATE images SET state = 'complete', error = NULL WHERE manifest_digest = ?`)
      .run(manifestDigest);
    for (const listener of this.#onComplete) listener(manifestDigest);
  }

  /** Contents are missing after all: it is to be downloaded again. */
  setPulling(manifestDigest: Digest, bootId: string): void {
    this.db
      .prepare(`UPDATE images SET state = 'pulling', boot_id = ? WHERE manifest_digest = ?`)
      .run(bootId, manifestDigest);
  }

  setError(manifestDigest: Digest, error: string | undefined): void {
    this.db
      .prepare('UPDATE images SET error = ? WHERE manifest_digest = ?')
      .run(error ?? null, manifestDigest);
  }

  bootIdOf(manifestDigest: Digest): string | undefined {
    const row = this.db.prepare('SELECT boot_id FROM images WHERE manifest_digest = ?').get(manifestDigest);
    return row === undefined ? undefined : text(row, 'boot_id');
  }

  touchedMsOf(manifestDigest: Digest): number {
    const row = this.db
      .prepare('SELECT touched_ms FROM images WHERE manifest_digest = ?')
      .get(manifestDigest);
    return Number(row?.['touched_ms'] ?? 0);
  }

  /** Notes that images were of use to another pull: they are evicted after those that were not. */
  setUsed(manifestDigests: readonly Digest[], nowMs: number): void {
    const update = this.db.prepare('UPDATE images SET used_ms = ? WHERE manifest_digest = ?');
    for (const manifestDigest of manifestDigests) update.run(nowMs, manifestDigest);
  }

  /** Notes that the images of which `chainId` is the topmost layer were in use until now. */
  setUsedUntil(chainId: ChainId, nowMs: number): void {
    this.db
      .prepare(
        `UPDATE images SET used_ms = ? WHERE manifest_digest IN
           (SELECT manifest_digest FROM chains AS top WHERE chain_id = ? AND depth =
             (SELECT max(depth) FROM chains WHERE chains.manifest_digest = top.manifest_digest))`,
      )
      .run(nowMs, chainId);
  }

  /**
   * Forgets images, at once and for good: it is on the disk before it returns, so that no crash brings back an
   * image whose contents were then removed.
   */
  remove(manifestDigests: readonly Digest[]): void {
    if (manifestDigests.length === 0) return;
    this.db.exec('PRAGMA synchronous = FULL'); // NORMAL may lose the last transactions with the power
    try {
      this.#transaction(() => {
        const remove = this.db.prepare('DELETE FROM images WHERE manifest_digest = ?');
        for (const manifestDigest of manifestDigests) remove.run(manifestDigest);
      });
    } finally {
      this.db.exec('PRAGMA synchronous = NORMAL');
    }
    for (const listener of this.#onRemoved) listener();
  }

  putName(name: ImageName, platform: string): void {
    this.db
      .prepare(
        `INSERT INTO names VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
         SET manifest_digest = excluded.manifest_digest, registered = excluded.registered`,
      )
      .run(name.namespace, name.reference, platform, name.manifestDigest, name.registered ? 1 : 0);
  }

  namesOf(manifestDigest: Digest): ImageName[] {
    return this.db
      .prepare('SELECT * FROM names WHERE manifest_digest = ? ORDER BY namespace, reference')
      .all(manifestDigest)
      .map((row) => ({
        namespace: text(row, 'namespace'),
        reference: text(row, 'reference'),
        manifestDigest,
        registered: row['registered'] === 1,
      }));
  }

  setting(name: string): string | undefined {
    const row = this.db.prepare('SELECT value FROM settings WHERE name = ?').get(name);
    return row === undefined ? undefined : text(row, 'value');
  }

  setSetting(name: string, value: string): void {
    this.db
      .prepare('INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value')
      .run(name, value);
  }

  #transaction(work: () => void): void {
    this.db.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.db.exec('COMMIT');
    } catch (error) {
      this.db.exec('ROLLBACK');
      throw error;
    }
  }
}

function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw new TypeError(`column ${column} holds no text`);
  return value;
}

function recordOf(row: Row): ImageRecord {
  const indexDigest = row['index_digest'];
  const error = row['error'];
  return {
    manifestDigest: parseDigest(text(row, 'manifest_digest')),
    ...(typeof indexDigest === 'string' ? { indexDigest: parseDigest(indexDigest) } : {}),
    configDigest: parseDigest(text(row, 'config_digest')),
    tocDigest: parseDigest(text(row, 'toc_digest')),
    host: text(row, 'host'),
    repository: text(row, 'repository'),
    platform: text(row, 'platform'),
    layers: JSON.parse(text(row, 'layers')) as ImageLayer[], // written by register()
    state: text(row, 'state') === 'complete' ? 'complete' : 'pulling',
    error: typeof error === 'string' ? error : undefined,
    contentsTotal: Number(row['contents_total']),
    bytesTotal: Number(row['bytes_total']),
    usedMs: Number(row['used_ms']),
  };
}
