import {
  type Directory,
  type ImageGroup,
  type ImageRecord,
  type ImageSummary,
  type IngestRecord,
  type LayerRecord,
  MAX_GROUPS,
  MAX_REPOSITORIES,
  type PredecessorQuestion,
  type RankRecord,
  type RankRow,
  type RepositoryKey,
} from '../../extensions/starlight/directory.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { addRankRows, decodeRanks, encodeRanks } from './rank-columns.ts';
import { recordIngest } from './record-ingest.ts';
import { RowReader } from './rows.ts';
import type { SqlDatabase } from './sql.ts';

/**
 * The directory in SQL (schemas/sql). Statements in flight are not cancelled by the signal, which is looked
 * at before each: what bounds them is the database's own time limit.
 */
export class SqlDirectory implements Directory {
  readonly #database: SqlDatabase;

  /** `database` must be migrated; it is closed with the directory. */
  constructor(database: SqlDatabase) {
    this.#database = database;
  }

  async layers(
    registry: string,
    digests: readonly Digest[],
    signal: AbortSignal,
  ): Promise<readonly LayerRecord[]> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `SELECT digest, diff_id, size_bytes, estargz_toc_digest, toc, toc_size_bytes FROM layer l
        WHERE digest = ANY($1::text[]) AND EXISTS (
          SELECT 1 FROM manifest_layer ml
            JOIN repository_manifest rm ON rm.manifest_digest = ml.manifest_digest
            JOIN repository r ON r.id = rm.repository_id
           WHERE ml.layer_digest = l.digest AND r.registry = $2)`,
      [digests, registry],
    );
    return rows.map((fields) => {
      const row = new RowReader(fields);
      return {
        digest: row.digest('digest'),
        diffId: row.digest('diff_id'),
        sizeBytes: row.count('size_bytes'),
        ...(fields['estargz_toc_digest'] === null
          ? {}
          : { estargzTocDigest: row.digest('estargz_toc_digest') }),
        toc: { bytes: row.bytes('toc'), sizeBytes: row.count('toc_size_bytes') },
      };
    });
  }

  async image(manifest: Digest, signal: AbortSignal): Promise<ImageRecord | undefined> {
    signal.throwIfAborted();
    const found = await this.#database.query(
      `SELECT m.digest, m.media_type, m.bytes, m.platform, m.toc_digest, m.toc_bound, m.toc, m.toc_size_bytes,
              m.shown, m.shown_size_bytes, m.start_order,
              c.digest AS config_digest, c.media_type AS config_media_type, c.bytes AS config_bytes
         FROM manifest m JOIN config c ON c.digest = m.config_digest WHERE m.digest = $1`,
      [manifest],
    );
    if (found[0] === undefined) return undefined;
    const row = new RowReader(found[0]);
    const layers = await this.#database.query(
      `SELECT l.digest, l.diff_id, l.size_bytes FROM manifest_layer ml JOIN layer l ON l.digest = ml.layer_digest
        WHERE ml.manifest_digest = $1 ORDER BY ml.position`,
      [manifest],
    );
    return {
      manifest: {
        digest: row.digest('digest'),
        mediaType: row.text('media_type'),
        bytes: row.bytes('bytes'),
      },
      config: {
        digest: row.digest('config_digest'),
        mediaType: row.text('config_media_type'),
        bytes: row.bytes('config_bytes'),
      },
      platform: row.text('platform'),
      tocDigest: row.digest('toc_digest'),
      tocBound: row.flag('toc_bound'),
      toc: { bytes: row.bytes('toc'), sizeBytes: row.count('toc_size_bytes') },
      shown: { bytes: row.bytes('shown'), sizeBytes: row.count('shown_size_bytes') },
      ...(found[0]['start_order'] === null ? {} : { startOrder: row.bytes('start_order') }),
      layers: layers.map((fields) => {
        const layer = new RowReader(fields);
        return {
          digest: layer.digest('digest'),
          diffId: layer.digest('diff_id'),
          sizeBytes: layer.count('size_bytes'),
        };
      }),
    };
  }

  async summary(registry: string, manifest: Digest, signal: AbortSignal): Promise<ImageSummary | undefined> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `SELECT platform, toc_digest FROM manifest WHERE digest = $1 AND EXISTS (
         SELECT 1 FROM repository_manifest rm JOIN repository r ON r.id = rm.repository_id
          WHERE rm.manifest_digest = $1 AND r.registry = $2)`,
      [manifest, registry],
    );
    if (rows[0] === undefined) return undefined;
    const row = new RowReader(rows[0]);
    return { manifestDigest: manifest, platform: row.text('platform'), tocDigest: row.digest('toc_digest') };
  }

  async holds(repository: RepositoryKey, manifest: Digest, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `SELECT 1 FROM repository_manifest rm JOIN repository r ON r.id = rm.repository_id
        WHERE r.registry = $1 AND r.name = $2 AND rm.manifest_digest = $3`,
      [repository.registry, repository.name, manifest],
    );
    return rows.length > 0;
  }

  async tagged(repository: RepositoryKey, tag: string, root: Digest, signal: AbortSignal): Promise<boolean> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `SELECT 1 FROM tag t JOIN repository r ON r.id = t.repository_id
        WHERE r.registry = $1 AND r.name = $2 AND t.tag = $3 AND coalesce(t.index_digest, t.manifest_digest) = $4
        LIMIT 1`,
      [repository.registry, repository.name, tag, root],
    );
    return rows.length > 0;
  }

  async repositories(registry: string, signal: AbortSignal): Promise<readonly string[]> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      'SELECT name FROM repository WHERE registry = $1 ORDER BY name LIMIT $2::bigint',
      [registry, MAX_REPOSITORIES],
    );
    return rows.map((fields) => new RowReader(fields).text('name'));
  }

  async predecessor(question: PredecessorQuestion, signal: AbortSignal): Promise<Digest | undefined> {
    signal.throwIfAborted();
    const { repository, platform, except, tag, traced } = question;
    const rows = await this.#database.query(
      `SELECT digest FROM (
         SELECT t.manifest_digest AS digest, 0 AS choice, 0::bigint AS sequence
           FROM tag t JOIN repository r ON r.id = t.repository_id
          WHERE r.registry = $1 AND r.name = $2 AND t.platform = $3 AND t.tag = $5
         UNION ALL
         SELECT m.digest, 1, rm.sequence
           FROM repository_manifest rm JOIN repository r ON r.id = rm.repository_id
           JOIN manifest m ON m.digest = rm.manifest_digest
          WHERE r.registry = $1 AND r.name = $2 AND m.platform = $3
       ) candidate
        WHERE digest <> $4
          AND (NOT $6::boolean OR EXISTS
            (SELECT 1 FROM trace x WHERE x.manifest_digest = candidate.digest AND x.version > 0))
        ORDER BY choice, sequence DESC LIMIT 1`,
      [repository.registry, repository.name, platform, except, tag ?? '', traced ?? false],
    );
    return rows[0] === undefined ? undefined : new RowReader(rows[0]).digest('digest');
  }

  async record(ingest: IngestRecord, signal: AbortSignal): Promise<readonly Digest[]> {
    signal.throwIfAborted();
    return await this.#database.transaction((sql) => recordIngest(sql, ingest, signal));
  }

  async ranks(manifest: Digest, signal: AbortSignal): Promise<RankRecord> {
    signal.throwIfAborted();
    const rows = await this.#database.query('SELECT version, ranks FROM trace WHERE manifest_digest = $1', [
      manifest,
    ]);
    if (rows[0] === undefined) return { version: 0, ranks: [] };
    const row = new RowReader(rows[0]);
    return { version: row.count('version'), ranks: decodeRanks(row.bytes('ranks')) };
  }

  async addRanks(
    repository: RepositoryKey,
    manifest: Digest,
    added: readonly RankRow[],
    signal: AbortSignal,
  ): Promise<number | undefined> {
    if (!(await this.holds(repository, manifest, signal))) return undefined;
    return await this.#database.transaction(async (sql) => {
      // The row is made first so that there is one to lock: two reports at once add up one after the other.
      await sql.query(
        `INSERT INTO trace (manifest_digest, version, ranks) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING`,
        [manifest, encodeRanks([])],
      );
      const rows = await sql.query('SELECT version, ranks FROM trace WHERE manifest_digest = $1 FOR UPDATE', [
        manifest,
      ]);
      const row = new RowReader(rows[0] ?? {});
      const version = row.count('version') + 1;
      const ranks = encodeRanks(addRankRows(decodeRanks(row.bytes('ranks')), added));
      signal.throwIfAborted();
      await sql.query('UPDATE trace SET version = $2, ranks = $3 WHERE manifest_digest = $1', [
        manifest,
        version,
        ranks,
      ]);
      return version;
    });
  }

  async noteGroup(manifests: readonly Digest[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const members = [...new Set(manifests)].sort();
    if (members.length < 2) return;
    await this.#database.transaction(async (sql) => {
      const known = await sql.query('SELECT digest FROM manifest WHERE digest = ANY($1::text[])', [members]);
      if (known.length !== members.length) return;
      const id = digestOf(members.join(' '));
      await sql.query(
        `INSERT INTO image_group (id, requests) VALUES ($1, 1) ON CONFLICT (id)
         DO UPDATE SET requests = image_group.requests + 1, last_requested_at = now()`,
        [id],
      );
      await sql.query(
        `INSERT INTO image_group_member (group_id, manifest_digest)
         SELECT $1, member FROM unnest($2::text[]) AS member ON CONFLICT DO NOTHING`,
        [id, members],
      );
    });
  }

  async groups(manifest: Digest, signal: AbortSignal): Promise<readonly ImageGroup[]> {
    signal.throwIfAborted();
    const rows = await this.#database.query(
      `SELECT g.requests, string_agg(all_of_it.manifest_digest, ' ' ORDER BY all_of_it.manifest_digest) AS members
         FROM image_group_member mine JOIN image_group g ON g.id = mine.group_id
         JOIN image_group_member all_of_it ON all_of_it.group_id = g.id
        WHERE mine.manifest_digest = $1
        GROUP BY g.id ORDER BY g.requests DESC, g.id LIMIT $2::integer`,
      [manifest, MAX_GROUPS],
    );
    return rows.map((fields) => {
      const row = new RowReader(fields);
      return { requests: row.count('requests'), manifests: row.text('members').split(' ') as Digest[] }; // joined above
    });
  }

  async ping(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await this.#database.query('SELECT 1');
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}
