import type {
  ImageRecord,
  IngestRecord,
  LayerRecord,
  RankRow,
  RawDocument,
  RepositoryKey,
} from '../../extensions/starlight/directory.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { encodeRanks } from './rank-columns.ts';
import { RowReader } from './rows.ts';
import type { Sql } from './sql.ts';

/**
 * The writes of one ingest, within a transaction of the caller's. What many ingests share is written in the
 * order of its digests, so that two of them at once wait for each other instead of blocking each other.
 */
export async function recordIngest(
  sql: Sql,
  ingest: IngestRecord,
  signal: AbortSignal,
): Promise<readonly Digest[]> {
  const repositoryId = await repository(sql, ingest.repository);
  for (const layer of sorted(ingest.layers, (row) => row.digest)) {
    signal.throwIfAborted();
    await insertLayer(sql, layer);
  }
  if (ingest.index !== undefined) await insertIndex(sql, ingest.index);
  const fresh: Digest[] = [];
  for (const { image, inherited } of sorted(ingest.images, (row) => row.image.manifest.digest)) {
    signal.throwIfAborted();
    if (await insertImage(sql, image, inherited)) fresh.push(image.manifest.digest);
  }
  const held = [
    ...ingest.known,
    ...ingest.images.map(({ image }) => ({
      manifestDigest: image.manifest.digest,
      platform: image.platform,
    })),
  ];
  for (const { manifestDigest, platform } of sorted(held, (row) => row.manifestDigest)) {
    signal.throwIfAborted();
    await sql.query(
      `INSERT INTO repository_manifest (repository_id, manifest_digest) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
      [repositoryId, manifestDigest],
    );
    if (ingest.tag === undefined) continue;
    await sql.query(
      `INSERT INTO tag (repository_id, tag, platform, manifest_digest, index_digest) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (repository_id, tag, platform) DO UPDATE
       SET manifest_digest = excluded.manifest_digest, index_digest = excluded.index_digest, updated_at = now()`,
      [repositoryId, ingest.tag, platform, manifestDigest, ingest.index?.digest ?? null],
    );
  }
  return fresh;
}

async function repository(sql: Sql, { registry, name }: RepositoryKey): Promise<number> {
  // The empty update makes RETURNING answer for a row that is there already, and locks it: ingests of one
  // repository are written one after the other.
  const rows = await sql.query(
    `INSERT INTO repository (registry, name) VALUES ($1, $2)
     ON CONFLICT (registry, name) DO UPDATE SET name = excluded.name RETURNING id`,
    [registry, name],
  );
  return new RowReader(rows[0] ?? {}).count('id');
}

async function insertLayer(sql: Sql, layer: LayerRecord): Promise<void> {
  await sql.query(
    `INSERT INTO layer (digest, diff_id, size_bytes, estargz_toc_digest, toc, toc_size_bytes)
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
    [
      layer.digest,
      layer.diffId,
      layer.sizeBytes,
      layer.estargzTocDigest ?? null,
      layer.toc.bytes,
      layer.toc.sizeBytes,
    ],
  );
}

async function insertIndex(sql: Sql, index: RawDocument): Promise<void> {
  await sql.query(
    'INSERT INTO image_index (digest, media_type, bytes) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
    [index.digest, index.mediaType, index.bytes],
  );
}

/** @returns false when the image was there already, in which case nothing of it is touched. */
async function insertImage(sql: Sql, image: ImageRecord, inherited: readonly RankRow[]): Promise<boolean> {
  const { manifest, config } = image;
  await sql.query(
    'INSERT INTO config (digest, media_type, bytes) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
    [config.digest, config.mediaType, config.bytes],
  );
  const inserted = await sql.query(
    `INSERT INTO manifest (digest, media_type, bytes, config_digest, platform, toc_digest, toc_bound, toc, toc_size_bytes,
                           shown, shown_size_bytes, start_order)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING RETURNING digest`,
    [
      manifest.digest,
      manifest.mediaType,
      manifest.bytes,
      config.digest,
      image.platform,
      image.tocDigest,
      image.tocBound,
      image.toc.bytes,
      image.toc.sizeBytes,
      image.shown.bytes,
      image.shown.sizeBytes,
      image.startOrder ?? null,
    ],
  );
  if (inserted.length === 0) return false;
  await sql.query(
    `INSERT INTO manifest_layer (manifest_digest, position, layer_digest)
     SELECT $1, row - 1, layer FROM unnest($2::text[]) WITH ORDINALITY AS stack (layer, row)`,
    [manifest.digest, image.layers.map((layer) => layer.digest)],
  );
  if (inherited.length > 0) {
    await sql.query(
      'INSERT INTO trace (manifest_digest, version, ranks) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING',
      [manifest.digest, encodeRanks(inherited)],
    );
  }
  return true;
}

function sorted<T>(rows: readonly T[], key: (row: T) => string): T[] {
  return [...rows].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
