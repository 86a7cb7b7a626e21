import { readFile } from 'node:fs/promises';
import { tryRun } from './child.ts';

/** Unmounts everything below `directory`, deepest first. */
export async function unmountBelow(directory: string): Promise<void> {
  const lines = (await readFile('/proc/self/mounts', 'utf8')).split('\n');
  const mounts = lines
    .map((line) => line.split(' ')[1] ?? '')
    .filter((path) => path.startsWith(`${directory}/`));
  for (const path of mounts.reverse()) await tryRun('umount', ['-l', path]);
}
