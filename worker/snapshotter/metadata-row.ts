import { parseDigest } from '../../schemas/oci/digest.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type {
  EpochNs,
  ImageForm,
  Labels,
  SnapshotId,
  SnapshotInfo,
  SnapshotKey,
  SnapshotKind,
} from './snapshot.ts';

/** Columns of SnapshotInfo for a SELECT from `snapshots s LEFT JOIN snapshots p ON p.id = s.parent_id`. */
export const INFO_COLUMNS = `s.id AS id, s.key AS key, s.kind AS kind, p.key AS parent, s.chain_id AS chain_id,
  s.labels AS labels, s.created_ns AS created_ns, s.updated_ns AS updated_ns,
  s.form AS form`;

/** A row as node:sqlite gives it with big integers. */
export type Row = Readonly<Record<string, unknown>>;

/** @throws {TypeError} when the row does not have the columns of INFO_COLUMNS: the database is damaged. */
export function infoOf(row: Row): SnapshotInfo {
  const parent = row['parent'];
  const chainId = row['chain_id'];
  return {
    id: idOf(row['id']),
    key: textOf(row['key']) as SnapshotKey, // checked when it was inserted
    kind: kindOf(row['kind']),
    parent: parent === null ? undefined : (textOf(parent) as SnapshotKey),
    labels: labelsOf(row['labels']),
    createdNs: integerOf(row['created_ns']),
    updatedNs: integerOf(row['updated_ns']),
    source: chainId === null ? { kind: 'local' } : { kind: 'remote', chainId: chainIdOf(chainId) },
    form: formOf(row['form']),
  };
}

export function idOf(value: unknown): SnapshotId {
  return Number(integerOf(value)) as SnapshotId;
}

export function chainIdOf(value: unknown): ChainId {
  return parseDigest(textOf(value)) as ChainId; // the column holds nothing but chainIDs
}

export function integerOf(value: unknown): EpochNs {
  if (typeof value !== 'bigint')
    throw new TypeError(`snapshot metadata: expected an integer, got ${typeof value}`);
  return value;
}

function textOf(value: unknown): string {
  if (typeof value !== 'string')
    throw new TypeError(`snapshot metadata: expected a text, got ${typeof value}`);
  return value;
}

function kindOf(value: unknown): SnapshotKind {
  if (value === 'active' || value === 'view' || value === 'committed') return value;
  throw new TypeError('snapshot metadata: unknown kind');
}

/** @throws {TypeError} when it is neither a form nor NULL. */
export function formOf(value: unknown): ImageForm | undefined {
  if (value === null) return undefined;
  if (value === 'served' || value === 'complete' || value === 'complete-metacopy') return value;
  throw new TypeError('snapshot metadata: unknown form');
}

function labelsOf(value: unknown): Labels {
  const labels: unknown = JSON.parse(textOf(value));
  if (typeof labels !== 'object' || labels === null) throw new TypeError('snapshot metadata: bad labels');
  return labels as Labels; // written by this module from a Labels
}
