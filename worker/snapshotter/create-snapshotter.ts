import { constants } from 'node:fs';
import { access, mkdir } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { isMissing } from '../../schemas/process/system-error.ts';
import { type Clock, systemClock } from './clock.ts';
import { SnapshotDirectories } from './directories.ts';
import type { Log } from './log.ts';
import { Metadata } from './metadata.ts';
import type { RemoteImages } from './remote-images.ts';
import { Snapshotter } from './snapshotter.ts';
import { Trash } from './trash.ts';

/** Present when overlayfs knows the mount option `index` (containerd, supportsIndex). */
const OVERLAY_INDEX_PARAMETER = '/sys/module/overlay/parameters/index';

export type SnapshotterOptions = {
  /** Absolute directory for everything; short, since it stands in mount options once per layer. */
  readonly root: string;
  readonly remoteImages: RemoteImages;
  readonly log: Log;
  readonly clock?: Clock;
};

/**
 * Opens the snapshotter at `root`, making it when it is not there:
 *
 *     <root>/metadata.db       what there is
 *     <root>/snapshots/<id>/   files of the local snapshots
 *     <root>/trash/            being deleted
 *
 * Leftovers of a killed process are discarded. The caller then calls `ensureMounts`, and `close` at the end.
 *
 * @throws {Error} when `root` is unusable or in use by another process.
 */
export async function createSnapshotter(options: SnapshotterOptions): Promise<Snapshotter> {
  const { root, remoteImages, log, clock = systemClock } = options;
  assertMountable(root);
  await mkdir(root, { recursive: true, mode: 0o700 });
  const metadata = new Metadata(join(root, 'metadata.db'));
  try {
    const trash = await Trash.open(join(root, 'trash'), log);
    const directories = await SnapshotDirectories.open(join(root, 'snapshots'), trash);
    const hasIndex = await exists(OVERLAY_INDEX_PARAMETER);
    const snapshotter = new Snapshotter({ metadata, directories, trash, remoteImages, clock, log, hasIndex });
    await snapshotter.cleanup();
    return snapshotter;
  } catch (error) {
    metadata.close();
    throw error;
  }
}

/** Overlayfs splits its options at commas and its directories at colons, and containerd does not escape them. */
function assertMountable(root: string): void {
  if (!isAbsolute(root)) throw new Error(`snapshotter root ${root} is not an absolute path`);
  if (/[,:\\\s]/.test(root)) {
    throw new Error(`snapshotter root ${root} has a character that overlayfs's options cannot hold`);
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path, constants.F_OK);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}
