import { readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

const MOUNT_TABLE = '/proc/self/mountinfo';

/**
 * The device (`major:minor`) of what is mounted on exactly this absolute path, the topmost if there are
 * several; undefined when nothing is. Read from the mount table: asking the path itself would wait for a file
 * system whose process is dead.
 */
export function mountedDevice(mountpoint: string, table: string = readTable()): string | undefined {
  // mountinfo: id, parent, major:minor, root, mountpoint, …
  const wanted = escapeMountpoint(mountpoint);
  const fields = table.split('\n').map((line) => line.split(' '));
  return fields.findLast((line) => line[4] === wanted)?.[2];
}

/** A mountpoint as it stands in the mount table: space, tab, newline and backslash in octal. */
export function escapeMountpoint(mountpoint: string): string {
  return mountpoint.replace(/[ \t\n\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** Is something mounted on exactly this absolute path? */
export function isMounted(mountpoint: string, table: string = readTable()): boolean {
  return mountedDevice(mountpoint, table) !== undefined;
}

/**
 * The path of a mountpoint as the mount table has it: absolute, without symlinks. The mountpoint itself is
 * not touched, which may be a file system without a process.
 */
export function canonicalMountpoint(mountpoint: string): string {
  const absolute = resolve(mountpoint);
  return join(realpathSync(dirname(absolute)), basename(absolute));
}

function readTable(): string {
  return readFileSync(MOUNT_TABLE, 'utf8');
}
