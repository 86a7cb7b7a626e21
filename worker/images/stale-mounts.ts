import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** Mounts may have been stacked by several deaths; each try takes one. */
const MAX_STACKED = 16;

/**
 * Detaches what an earlier daemon left mounted on `mountpoint`: it died with its file system, and whoever looks
 * at the directory gets ENOTCONN.
 * @throws {Error} when it cannot be detached.
 */
export async function clearStaleMount(mountpoint: string, signal: AbortSignal): Promise<void> {
  for (let tries = 0; tries < MAX_STACKED && (await isMountpoint(mountpoint)); tries += 1) {
    await run('umount', ['--lazy', '--', mountpoint], { signal });
  }
}

/** True when the kernel's table has something mounted there (stat would not do: it hangs on a dead mount). */
export async function isMountpoint(path: string): Promise<boolean> {
  const table = await readFile('/proc/self/mountinfo', 'latin1');
  const wanted = Buffer.from(path).toString('latin1');
  return table.split('\n').some((line) => unescapeOctal(line.split(' ')[4] ?? '') === wanted);
}

/** proc(5): space, tab, newline and backslash stand as octal escapes. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
