import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/**
 * How a metadata image is mounted: the file itself (Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE), or through
 * a loop device that mount(8) sets up and that goes with the mount.
 */
export type MountWay = 'file' | 'loop';

const MOUNT_TIMEOUT_MS = 30_000;

/** Mounts the metadata image `path` read-only on the directory `mountpoint`. @throws {Error} */
export async function mountForm(path: string, mountpoint: string, way: MountWay): Promise<void> {
  if (way === 'loop') {
    await promisify(execFile)('mount', ['-t', 'erofs', '-o', 'ro,loop', path, mountpoint], {
      timeout: MOUNT_TIMEOUT_MS,
    });
    return;
  }
  const { mountReadOnly } = await import('../filesystem/kernel/system-calls.ts'); // loads an add-on
  mountReadOnly(path, mountpoint, 'erofs');
}

/** Takes away what is mounted there; who uses it keeps it. @throws {Error} */
export async function unmountForm(mountpoint: string): Promise<void> {
  const { MNT_DETACH, unmount } = await import('../filesystem/kernel/system-calls.ts');
  await unmount(mountpoint, MNT_DETACH);
}
