import assert from 'node:assert/strict';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Everything below `root`, sorted: one line per entry with type, mode, owner, links, size, device, and content
 * or target. Sizes and link counts of directories are left out (they belong to the file system below), and so
 * are times: the trees compared are made one after the other.
 */
export async function listTree(root: string): Promise<string[]> {
  const lines: string[] = [];
  const names = await readdir(root, { recursive: true });
  for (const name of ['', ...names.sort()]) lines.push(await describeEntry(join(root, name), name));
  return lines;
}

async function describeEntry(path: string, name: string): Promise<string> {
  const entry = await lstat(path);
  const base = `/${name} mode=${entry.mode.toString(8)} owner=${entry.uid}:${entry.gid}`;
  if (entry.isDirectory()) return base;
  if (entry.isSymbolicLink()) return `${base} target=${await readlink(path)}`;
  const plain = `${base} links=${entry.nlink} size=${entry.size} device=${entry.rdev}`;
  return entry.isFile() ? `${plain} content=${(await readFile(path)).toString('base64')}` : plain;
}

/** @throws {AssertionError} naming the entries that differ. */
export async function assertSameTree(expected: string, actual: string, what: string): Promise<void> {
  assert.deepEqual(await listTree(actual), await listTree(expected), what);
}
