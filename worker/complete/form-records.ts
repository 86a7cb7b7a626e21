import type { DatabaseSync } from 'node:sqlite';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { type Digest, parseDigest } from '../../schemas/oci/digest.ts';

/** Of the writer: what an older program wrote with another is not mounted but written anew. */
export const FORM_VERSION = 1;

/** A metadata image that is on the disk, whole. */
export type FormRecord = { readonly digest: Digest; readonly sizeBytes: number };

/**
 * The metadata images on the disk, in the catalogue's database: a record goes in the transaction in which the
 * last image with its chain does (a trigger, images/migrations.ts), so none outlives its contents.
 */
export class FormRecords {
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** The chains with a record, of any version. */
  chains(): ChainId[] {
    const rows = this.#db.prepare('SELECT chain_id FROM forms ORDER BY chain_id').all();
    return rows.map((row) => parseDigest(String(row['chain_id'])) as ChainId); // the column holds nothing else
  }

  find(chainId: ChainId): FormRecord | undefined {
    const row = this.#db
      .prepare('SELECT digest, size_bytes FROM forms WHERE chain_id = ? AND version = ?')
      .get(chainId, FORM_VERSION);
    if (row === undefined) return undefined;
    return { digest: parseDigest(String(row['digest'])), sizeBytes: Number(row['size_bytes']) };
  }

  /** @returns false when no image has this chain any more: then nothing is recorded. */
  put(chainId: ChainId, record: FormRecord): boolean {
    const { changes } = this.#db
      .prepare(
        `INSERT INTO forms (chain_id, digest, size_bytes, version)
         SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM chains WHERE chain_id = ?)
         ON CONFLICT DO UPDATE SET digest = excluded.digest, size_bytes = excluded.size_bytes,
           version = excluded.version`,
      )
      .run(chainId, record.digest, record.sizeBytes, FORM_VERSION, chainId);
    return changes > 0;
  }

  remove(chainId: ChainId): void {
    this.#db.prepare('DELETE FROM forms WHERE chain_id = ?').run(chainId);
  }
}
