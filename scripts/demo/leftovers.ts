import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { unmountBelow } from '../lib/mounts.ts';

const PARENT = '/tmp';
const PREFIX = 'sl-demo-';

/** The directory of this run; its name says which process it belongs to. */
export function runDirectory(): string {
  return join(PARENT, `${PREFIX}${process.pid}`);
}

/** Takes away what a killed run has left: processes on its paths, mounts, files. Returns the directories. */
export async function removeLeftovers(): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await readdir(PARENT)) {
    if (!/^sl-demo-\d+$/.test(name) || (await isRunning(Number(name.slice(PREFIX.length))))) continue;
    const directory = join(PARENT, name);
    await removeRun(directory);
    removed.push(directory);
  }
  return removed;
}

/** Ends every process whose command names `directory`, unmounts what is below it, and removes it. */
export async function removeRun(directory: string): Promise<void> {
  for (const pid of (await readdir('/proc')).filter(
    (name) => /^\d+$/.test(name) && name !== String(process.pid),
  )) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''); // it may have ended meanwhile
    if (command.split('\0').some((word) => word.startsWith(`${directory}/`))) signal(Number(pid));
  }
  await unmountBelow(directory);
  await rm(directory, { recursive: true, force: true });
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

async function isRunning(pid: number): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return command.includes('demo/main.ts');
}
