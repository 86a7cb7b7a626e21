import type { Mount, SnapshotKind } from './snapshot.ts';

/** The directories that make up an active snapshot or a view. */
export type MountPlan = {
  readonly kind: Exclude<SnapshotKind, 'committed'>;
  /** Its own directory of files. */
  readonly upper: string;
  /** overlayfs's scratch directory, on the same file system as `upper`. */
  readonly work: string;
  /** The parents' trees, nearest first. */
  readonly lowers: readonly string[];
  /** Directories that hold contents only, by absolute path, for files of `lowers` that refer there (Linux 6.5). */
  readonly dataLowers: readonly string[];
  /** Whether metadata without contents in `lowers` is to be followed, and may be written to `upper`. */
  readonly metacopy: boolean;
  /** Whether this kernel knows the overlay option `index`. */
  readonly hasIndex: boolean;
};

/**
 * The mount of a snapshot, the same as containerd's overlay snapshotter gives (plugins/snapshots/overlay):
 * a bind of its own directory without parents, a read-only bind for a view of one tree (overlayfs wants two
 * lower directories when there is no upper one), an overlay otherwise. `index=off` lets one lower directory
 * serve many overlays at once. Data-only directories make an overlay of every view: only it can follow them.
 */
export function mountsOf(plan: MountPlan): Mount[] {
  const { kind, lowers } = plan;
  const [nearest] = lowers;
  if (nearest === undefined) return [bind(plan.upper, kind === 'view' ? 'ro' : 'rw')];
  if (kind === 'view' && lowers.length === 1 && plan.dataLowers.length === 0) return [bind(nearest, 'ro')];
  const options = plan.hasIndex ? ['index=off'] : [];
  if (kind === 'active') options.push(`workdir=${plan.work}`, `upperdir=${plan.upper}`);
  // with an upper directory the first wants the second
  if (plan.metacopy) options.push('metacopy=on', 'redirect_dir=on');
  options.push(`lowerdir=${[lowers.join(':'), ...plan.dataLowers].join('::')}`);
  return [{ type: 'overlay', source: 'overlay', options }];
}

function bind(source: string, access: 'ro' | 'rw'): Mount {
  return { type: 'bind', source, options: [access, 'rbind'] };
}
