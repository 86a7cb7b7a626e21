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

/**
 * How an active snapshot or a view sees the image below it. It keeps the form in which it was made for life: what
 * its upper directory says about the files below is true of that form.
 *
 * - served: a tree that the daemon serves, contents coming as they are opened.
 * - complete: a mounted metadata image over the store as data-only lower layer; the kernel reads by itself.
 * - complete-metacopy: the same, on kernels that follow it only with `metacopy=on` (before Linux 6.16). The upper
 *   directory may then hold metadata without contents, which needs this option from then on, in what is
 *   committed from it and in all that stands on that.
 */
export type ImageForm = 'served' | 'complete' | 'complete-metacopy';

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
  /** Undefined when there is no image below, and for committed remote ones. */
  readonly form: ImageForm | undefined;
};

/** The arguments of mount(2) for the caller to apply; options in the style of fstab. */
export type Mount = {
  readonly type: 'bind' | 'overlay';
  readonly source: string;
  readonly options: readonly string[];
};

/** Label of Prepare by which containerd asks for a layer whose contents need not be unpacked. */
export const SNAPSHOT_REF_LABEL = 'containerd.io/snapshot.ref';
