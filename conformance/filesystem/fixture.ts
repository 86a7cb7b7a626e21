import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Tree } from '../../schemas/toc/tree.ts';
import type { FileSystemDriver, MountedTree, MountOptions } from '../../worker/filesystem/driver.ts';
import { SampleContents } from './sample-content.ts';

/** Makes the driver under test. */
export type DriverFactory = () => Promise<FileSystemDriver>;

/** One tree, mounted for a test. */
export interface SampleMount {
  readonly path: string;
  readonly contents: SampleContents;
  readonly mounted: MountedTree;
}

/** What a driver logs in the suite: kept, for the tests that expect a fault to be told. */
export class RecordedLog {
  readonly lines: { readonly fields: object; readonly message: string }[] = [];
  debug(fields: object, message: string): void {
    this.lines.push({ fields, message });
  }
  warn(fields: object, message: string): void {
    this.lines.push({ fields, message });
  }
  error(fields: object, message: string): void {
    this.lines.push({ fields, message });
  }
}

/** How a child ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** A driver with a private directory; everything mounted through it is gone after `close()`. */
export class Fixture {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'starlight-fs-'));
  readonly driver: FileSystemDriver;
  readonly log: RecordedLog;
  readonly #overlays: string[] = [];
  #count = 0;

  private constructor(driver: FileSystemDriver) {
    this.driver = driver;
    this.log = new RecordedLog();
  }

  static async open(makeDriver: DriverFactory): Promise<Fixture> {
    return new Fixture(await makeDriver());
  }

  /** Mounts a tree on a new directory, with a store of its own or a given one. */
  async mount(
    tree: Tree,
    options: Partial<MountOptions> = {},
    contents: SampleContents = new SampleContents(join(this.directory, `store-${this.#count}`)),
  ): Promise<SampleMount> {
    const path = join(this.directory, `tree-${this.#count++}`);
    await mkdir(path);
    const mounted = await this.driver.mount(
      tree,
      path,
      contents,
      { waitLimitMs: 0, log: this.log, ...options },
      AbortSignal.timeout(10_000),
    );
    return { path, contents, mounted };
  }

  /** Mounts an overlay above a tree, as the snapshotter does. @returns its path. */
  async overlay(lower: string): Promise<string> {
    const base = join(this.directory, `overlay-${this.#count++}`);
    const [upper, work, merged] = [join(base, 'upper'), join(base, 'work'), join(base, 'merged')];
    for (const path of [upper, work, merged]) await mkdir(path, { recursive: true });
    const data = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
    const { code, stderr } = await run('mount', ['-t', 'overlay', 'overlay', '-o', data, merged]);
    if (code !== 0) throw new Error(`overlay: ${stderr}`);
    this.#overlays.push(merged);
    return merged;
  }

  async close(): Promise<void> {
    for (const path of this.#overlays) await run('umount', ['-l', path]);
    await this.driver.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A running child and its end. Children read the mounts, so that this process never blocks on its own. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

export function start(
  command: string,
  args: readonly string[],
  options: { readonly uid?: number; readonly gid?: number } = {},
): Running {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) =>
      resolve({ code, signal, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() }),
    );
  });
  return { child, ended };
}

export function run(
  command: string,
  args: readonly string[],
  options: { readonly uid?: number; readonly gid?: number } = {},
): Promise<Ended> {
  return start(command, args, options).ended;
}
