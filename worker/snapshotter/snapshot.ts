import type { ChainId } from '../../schemas/oci/chain-id.ts';

/** The name of a snapshot as containerd passes it (already prefixed with its namespace). Never empty. */
export type SnapshotKey = string & { readonly __brand: 'SnapshotKey' };

/** The number of a snapshot, never given twice; the name of its directory under `snapshots/`. */
export type SnapshotId = number & { readonly __brand: 'SnapshotId' };

/** Nanoseconds since 1970, the resolution of containerd's time stamps. */
export type EpochNs = bigint;

export type Labels = Readonly<Record<string, string>>;

/**
 * - active: writable, made by Prepare; becomes committed by Commit.
 * - view: read-only, made by View; can only be removed.
 * - committed: immutable, may be a parent.
 */
export type SnapshotKind = 'active' | 'view' | 'committed';

/** Disk space and inodes that a snapshot adds to its parent. */
export type Usage = { readonly sizeBytes: number; readonly inodes: number };

/**
 * Where the contents of a snapshot are: in an ordinary directory `snapshots/<id>/fs`, or in the merged tree of
 * an image of which `chainId` names the layers. Only committed snapshots are remote.
 */
export type SnapshotSource =
  | { readonly kind: 'local' }
  | { readonly kind: 'remote'; readonly chainId: ChainId };

/** What containerd's Stat tells about a snapshot, and where its contents are. */
export type SnapshotInfo = {
  readonly id: SnapshotId;
  readonly key: SnapshotKey;
  readonly kind: SnapshotKind;
  readonly parent: SnapshotKey | undefined;
  readonly labels: Labels;
  readonly createdNs: EpochNs;
  readonly updatedNs: EpochNs;
  readonly source: SnapshotSource;
};

/** The arguments of mount(2) for the caller to apply; options in the style of fstab. */
export type Mount = {
  readonly type: 'bind' | 'overlay';
  readonly source: string;
  readonly options: readonly string[];
};

/** Label of Prepare by which containerd asks for a layer whose contents need not be unpacked. */
export const SNAPSHOT_REF_LABEL = 'containerd.io/snapshot.ref';
