import { mkdir, rename, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type CommandResult, tryRun } from './child.ts';

/** A program that is built from a Go module. */
export interface GoTool {
  /** Of the binary, among others. */
  readonly name: string;
  readonly module: string;
  /** A version or pseudo-version, never a branch. */
  readonly version: string;
  /** The module's hash as go.sum has it; the module's own go.sum vouches for what it needs. */
  readonly sum: string;
  /** What is built, relative to the module, and whether it is a package's tests. */
  readonly package: string;
  readonly test?: boolean;
}

/** A machine without Go, or a module proxy that does not have the module: the tool cannot be had here. */
export class GoToolError extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = 'GoToolError';
  }
}

const CACHE = resolve(import.meta.dirname, '../../.cache/tools');
const DOWNLOAD_LIMIT_MS = 120_000;
const BUILD_LIMIT_MS = 900_000;

/**
 * Builds `tool` by the Go module proxy, once: kept in `.cache/tools`. What was downloaded must have the hash that
 * is written down here, so that no checksum database has to know it.
 *
 * @returns the path of the binary.
 * @throws {GoToolError}
 */
export async function buildGoTool(tool: GoTool): Promise<string> {
  const binary = join(CACHE, `${tool.name}-${tool.version}`);
  if (await exists(binary)) return binary;
  await mkdir(CACHE, { recursive: true });
  const sourceDir = await download(tool);
  const partial = `${binary}.${process.pid}.tmp`;
  const verb = tool.test === true ? ['test', '-c'] : ['build'];
  // A module's zip has no vendored packages, but may list them.
  const args = [...verb, '-mod=readonly', '-o', partial, tool.package];
  const built = await go(args, { cwd: sourceDir, limitMs: BUILD_LIMIT_MS });
  if (built.code !== 0) throw new GoToolError(`${tool.name} cannot be built:\n${built.stderr.slice(-2000)}`);
  await rename(partial, binary);
  return binary;
}

async function download({ name, module, version, sum }: GoTool): Promise<string> {
  const args = ['mod', 'download', '-json', `${module}@${version}`];
  const { stdout, stderr } = await go(args, {
    cwd: CACHE,
    limitMs: DOWNLOAD_LIMIT_MS,
    env: { GONOSUMDB: module },
  });
  let told: { Dir?: string; Sum?: string; Error?: string };
  try {
    told = JSON.parse(stdout) as typeof told; // of the shape that `go help mod download` gives
  } catch {
    throw new GoToolError(`${name}: go mod download: ${(stderr || stdout).trim().slice(0, 500)}`);
  }
  if (told.Error !== undefined || told.Dir === undefined) {
    const reason = (told.Error ?? 'no directory').replaceAll(/\s+/g, ' ').slice(0, 500);
    throw new GoToolError(`${name} cannot be had from the Go module proxy: ${reason}`);
  }
  if (told.Sum !== sum) throw new Error(`${module}@${version} is ${told.Sum}, and ought to be ${sum}`);
  return told.Dir;
}

async function go(
  args: readonly string[],
  { cwd, limitMs, env = {} }: { cwd: string; limitMs: number; env?: NodeJS.ProcessEnv },
): Promise<CommandResult> {
  try {
    return await tryRun('go', args, {
      cwd,
      timeoutMs: limitMs,
      env: { GO111MODULE: 'on', GOFLAGS: '-buildvcs=false', GOWORK: 'off', ...env },
    });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause; // of execFile
    throw new GoToolError('there is no Go on this machine');
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
