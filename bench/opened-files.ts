import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join, resolve as resolvePath } from 'node:path';

export interface TracedProcess {
  /** The directory that is the process's root. */
  readonly root: string;
  readonly command: readonly string[];
  readonly environment: ReadonlyMap<string, string>;
  readonly workingDirectory: string;
  /** What it prints when it is ready. */
  readonly ready: string;
  readonly traceFile: string;
  readonly signal: AbortSignal;
}

/** execve and open as strace prints them; a result below zero is no open. */
const CALL = /^(?:execve|open|openat)\((?:AT_FDCWD(?:<[^>]*>)?, )?"((?:[^"\\]|\\.)*)".* = (\d+)/;

/**
 * Runs a command in a chroot until it says that it is ready, and gives the paths that were opened or run in it,
 * each once, in order. The process is ended.
 */
export async function openedFiles(traced: TracedProcess): Promise<readonly string[]> {
  const { root, command, environment, workingDirectory, ready, traceFile, signal } = traced;
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  const inside = ['--root', root, '--wd', workingDirectory, '--', ...command];
  // A file for each process: in one for all, calls of several would come in pieces.
  const strace = ['-ff', '-o', traceFile, '-e', 'trace=execve,open,openat,chroot'];
  const child = spawn('strace', [...strace, 'unshare', ...inside], {
    env: { PATH: path, ...Object.fromEntries(environment) },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    signal,
  });
  const ended = once(child, 'exit');
  let said = '';
  try {
    await new Promise<void>((resolve, reject) => {
      const hear = (text: Buffer): void => {
        said += text.toString();
        if (said.includes(ready)) resolve();
      };
      child.stdout.on('data', hear);
      child.stderr.on('data', hear);
      child.once('error', reject);
      child.once('exit', () => (said.includes(ready) ? resolve() : reject(new Error(`it ended: ${said}`))));
    });
  } finally {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await ended;
  }
  const paths: string[] = [];
  for (const name of (await readdir(dirname(traceFile))).sort()) {
    if (!name.startsWith(`${basename(traceFile)}.`)) continue;
    const lines = (await readFile(join(dirname(traceFile), name), 'utf8')).split('\n');
    const begin = lines.findIndex((line) => /^chroot\(.* = 0/.test(line)) + 1;
    paths.push(...lines.slice(begin).flatMap((line) => CALL.exec(line)?.[1] ?? []));
  }
  return [...new Set(paths.map((one) => resolvePath(workingDirectory, one)))];
}
