import { readFileSync } from 'node:fs';

/**
 * Is something mounted on exactly this absolute path? Read from the mount table: asking the path itself would
 * wait for a file system whose process is dead.
 */
export function isMounted(
  mountpoint: string,
  table: string = readFileSync('/proc/self/mountinfo', 'utf8'),
): boolean {
  // mountinfo: id, parent, major:minor, root, mountpoint (space, tab, newline and backslash in octal), …
  const wanted = mountpoint.replace(
    /[ \t\n\\]/g,
    (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`,
  );
  return table.split('\n').some((line) => line.split(' ')[4] === wanted);
}
