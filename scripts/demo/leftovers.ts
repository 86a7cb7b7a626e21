import { lstat, readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { unmountBelow } from '../lib/mounts.ts';

const PARENT = '/tmp';
const PREFIX = 'sl-demo-';
const CGROUPS = '/sys/fs/cgroup';
const KILL_ATTEMPTS = 250;
const POLL_MS = 20;

/** The directory of this run; its name says which process it belongs to. */
export function runDirectory(): string {
  return join(PARENT, PREFIX + process.pid);
}

/** Where this run's containers are in containerd, and the name that their cgroups are below. */
export function containerdNamespace(): string {
  return PREFIX + process.pid;
}

/** Takes away what killed runs of this user have left: processes, mounts, cgroups, files. Returns the directories. */
export async function removeLeftovers(parent = PARENT, uid = process.getuid?.()): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await readdir(parent)) {
    const directory = join(parent, name);
    if (!/^sl-demo-\d+$/.test(name) || (await isRunning(name.slice(PREFIX.length)))) continue;
    if ((await lstat(directory)).uid !== uid) continue;
    await removeRun(directory);
    removed.push(directory);
  }
  return removed;
}

/** Ends every process of the run in `directory`, its containers' among them, unmounts what is below it, removes it. */
export async function removeRun(directory: string): Promise<void> {
  // A shim that is killed may have started another process meanwhile: until nobody is left.
  for (let attempt = 0; attempt < KILL_ATTEMPTS; attempt++) {
    const pids = await processesOf(directory);
    if (pids.length === 0) break;
    for (const pid of pids) kill(pid);
    await delay(POLL_MS);
  }
  await unmountBelow(directory);
  await removeCgroups(basename(directory));
  await rm(directory, { recursive: true, force: true });
}

/** The processes that name a path below `directory` in their command, or whose root is an overlay on it, as a container's is. */
export async function processesOf(directory: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const words = (await readIfThere(`/proc/${pid}/cmdline`)).split('\0');
    if (words.some((word) => word.startsWith(`${directory}/`)) || (await hasRootOn(pid, directory))) {
      found.push(pid);
    }
  }
  return found;
}

/** Of proc(5)'s mountinfo, the fifth field is the mount point as the process sees it, the last has an overlay's layers. */
async function hasRootOn(pid: number, directory: string): Promise<boolean> {
  const mounts = (await readIfThere(`/proc/${pid}/mountinfo`)).split('\n').map((line) => line.split(' '));
  return mounts.some((fields) => fields[4] === '/' && fields.at(-1)?.includes(`=${directory}/`) === true);
}

/** Removes the cgroups below `name`, which are empty by now, of the one hierarchy or of each of several. */
async function removeCgroups(name: string): Promise<void> {
  const hierarchies = await readdir(CGROUPS).catch(() => []);
  for (const parent of ['.', ...hierarchies]) {
    const group = join(CGROUPS, parent, name);
    const children = await readdir(group, { withFileTypes: true }).catch(() => undefined);
    if (children === undefined) continue;
    for (const child of children) if (child.isDirectory()) await removeCgroup(join(group, child.name));
    await removeCgroup(group);
  }
}

/** One that is in use, or gone already, does no harm. */
async function removeCgroup(path: string): Promise<void> {
  await rmdir(path).catch(() => undefined);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

async function isRunning(pid: string): Promise<boolean> {
  return (await readIfThere(`/proc/${pid}/cmdline`)).includes('demo/main.ts');
}

/** Empty for a process that has ended meanwhile, and for another user's. */
async function readIfThere(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}
