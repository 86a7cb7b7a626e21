import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, isMissing } from '../../../schemas/process/system-error.ts';
import { escapeMountpoint, isMounted } from '../mount-table.ts';
import { closeOnExec, openProcess, SystemCallError, takeDescriptor } from './system-calls.ts';

/** Where a holder has the descriptor: the first number after the standard ones. */
const HELD_FD = 3;
const FIRST_AFTER_STDIO = 3;
const FUSE_DEVICE = '/dev/fuse';
const HOLDER_NAME = 'starlight-descriptor-holder';
/**
 * Holds descriptor 3 for as long as `$1` stands in the mount table. The children, which do not get it, close
 * it in subshells of their own: a redirection behind a command makes dash move it away in the shell itself.
 */
const HOLD =
  'while (exec 3>&-; exec grep -qF " $1 " /proc/self/mountinfo); do (exec 3>&-; exec sleep 20); done';

/** What is written down about a holder: enough to know it again, and not to take another for it. */
interface HolderRecord {
  readonly mountpoint: string;
  readonly pid: number;
  /** Start of the process in clock ticks since the boot; with the boot it tells process ids apart. */
  readonly startTicks: string;
  readonly bootId: string;
}

/**
 * Keeps /dev/fuse descriptors open beyond the life of this process, so that its death kills no container:
 * requests wait in the kernel until a successor takes the descriptor over.
 *
 * A holder is a shell that sleeps, started in a session of its own with the descriptor inherited, and ends
 * when its mount is gone; one per mount, some 2 MB each. There is no protocol and next to nothing in it that
 * could fail. The successor finds it by a file in `directory` and copies the descriptor with pidfd_getfd(2)
 * (Linux 5.6). Under systemd the unit needs `KillMode=process`.
 */
export class DescriptorHolder {
  readonly #directory: string;

  /** @param directory of the records; it must not outlive a reboot longer than /run does, but may. */
  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** Has a holder keep `fd`, the descriptor of the mount on `mountpoint`. Replaces an earlier one. */
  async keep(mountpoint: string, fd: number): Promise<void> {
    await this.release(mountpoint);
    // What this process itself has inherited must not be held as well: somebody waits for the end of a pipe.
    closeOnExec(FIRST_AFTER_STDIO);
    const child = spawn('sh', ['-c', HOLD, HOLDER_NAME, escapeMountpoint(mountpoint)], {
      cwd: '/',
      detached: true,
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'ignore', 'ignore', fd],
    });
    const pid = await started(child);
    child.unref();
    const record: HolderRecord = { mountpoint, pid, startTicks: startTicksOf(pid) ?? '', bootId: bootId() };
    const path = this.#pathOf(mountpoint);
    await writeFile(`${path}.tmp`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.tmp`, path);
  }

  /** A copy of the descriptor kept for `mountpoint`; undefined when no living holder has one. */
  take(mountpoint: string): number | undefined {
    const record = this.#living(mountpoint);
    if (record === undefined) return undefined;
    const pidfd = openProcess(record.pid);
    let fd: number;
    try {
      fd = takeDescriptor(pidfd, HELD_FD);
    } catch (error) {
      if (error instanceof SystemCallError) return undefined; // it ended this moment
      throw error;
    } finally {
      closeSync(pidfd);
    }
    if (readlinkSync(`/proc/self/fd/${fd}`) === FUSE_DEVICE) return fd;
    closeSync(fd);
    return undefined;
  }

  /** Ends the holder of `mountpoint`, if there is one. */
  async release(mountpoint: string): Promise<void> {
    const record = this.#living(mountpoint);
    if (record !== undefined) kill(-record.pid); // with the sleep: its process group
    await rm(this.#pathOf(mountpoint), { force: true });
  }

  /** Ends the holders of mounts that are no more: unmounted while no daemon ran. */
  async sweep(): Promise<void> {
    for (const name of readdirSync(this.#directory)) {
      const record = name.endsWith('.json') ? readRecord(join(this.#directory, name)) : undefined;
      if (record !== undefined && !isMounted(record.mountpoint)) await this.release(record.mountpoint);
    }
  }

  #living(mountpoint: string): HolderRecord | undefined {
    const record = readRecord(this.#pathOf(mountpoint));
    if (record === undefined || record.mountpoint !== mountpoint) return undefined;
    if (record.bootId !== bootId() || record.startTicks !== startTicksOf(record.pid)) return undefined;
    return record;
  }

  #pathOf(mountpoint: string): string {
    return join(
      this.#directory,
      `${createHash('sha256').update(mountpoint).digest('hex').slice(0, 32)}.json`,
    );
  }
}

function started(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => resolve(child.pid ?? 0));
  });
}

/** Kills a process or, by a negative number, a group; one that is gone is fine. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The record in a file; undefined when there is none or it is damaged: then there is nothing to take over. */
function readRecord(path: string): HolderRecord | undefined {
  let record: Partial<HolderRecord>;
  try {
    record = JSON.parse(readFileSync(path, 'utf8')) as Partial<HolderRecord>; // checked field by field below
  } catch (error) {
    if (error instanceof SyntaxError || isMissing(error)) return undefined;
    throw error;
  }
  const { mountpoint, pid, startTicks, bootId } = record;
  if (typeof mountpoint !== 'string' || typeof startTicks !== 'string' || typeof bootId !== 'string')
    return undefined;
  if (typeof pid !== 'number' || !Number.isInteger(pid) || pid < 2 || startTicks === '') return undefined;
  return { mountpoint, pid, startTicks, bootId };
}

/** Field 22 of /proc/<pid>/stat, counted after the name, which may hold anything; undefined when it is gone. */
function startTicksOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes(errorCode(error) ?? '')) return undefined;
    throw error;
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}
