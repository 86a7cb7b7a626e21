import { createHash } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { Worker } from 'node:worker_threads';
import { xattrsOf } from './xattrs.ts';

/**
 * One object of a directory tree, with everything a program in a container could see of it. Times are of
 * modification; `links` groups the names that share an inode (the first of them in byte order).
 */
export interface TreeRow {
  readonly type: string;
  readonly mode: string;
  readonly owner: string;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly nlink: bigint;
  readonly rdev: bigint;
  readonly links: string;
  readonly target: string;
  readonly xattrs: string;
  readonly content: string;
}

export type TreeListing = ReadonlyMap<string, TreeRow>;

const TYPES: readonly (readonly [keyof BigIntStats & `is${string}`, string])[] = [
  ['isDirectory', 'directory'],
  ['isFile', 'file'],
  ['isSymbolicLink', 'symlink'],
  ['isCharacterDevice', 'chardev'],
  ['isBlockDevice', 'blockdev'],
  ['isFIFO', 'fifo'],
  ['isSocket', 'socket'],
];

const READ_BYTES = 1 << 20;

function contentDigest(path: Buffer, buffer: Buffer): string {
  const fd = openSync(path, 'r');
  try {
    const hash = createHash('sha256');
    for (;;) {
      const n = readSync(fd, buffer, 0, buffer.length, null);
      if (n === 0) return hash.digest('hex');
      hash.update(buffer.subarray(0, n));
    }
  } finally {
    closeSync(fd);
  }
}

/** Everything below `root`, keyed by path relative to it in Latin-1 (a byte, a character); the root is ''. */
export function listTree(root: string): TreeListing {
  const rows = new Map<string, TreeRow>();
  const firstName = new Map<string, string>();
  const buffer = Buffer.alloc(READ_BYTES);
  const visit = (relative: Buffer): void => {
    const path =
      relative.length === 0 ? Buffer.from(root) : Buffer.concat([Buffer.from(`${root}/`), relative]);
    const stat = lstatSync(path, { bigint: true });
    const key = relative.toString('latin1');
    const type = TYPES.find(([test]) => stat[test]())?.[1] ?? 'unknown';
    const inode = `${stat.dev}:${stat.ino}`;
    if (!firstName.has(inode)) firstName.set(inode, key);
    const directory = type === 'directory';
    const device = type === 'chardev' || type === 'blockdev';
    rows.set(key, {
      type,
      mode: (stat.mode & 0o7777n).toString(8),
      owner: `${stat.uid}:${stat.gid}`,
      // The size and link count of a directory are the file system's own affair (ext4 gives 4096 and the
      // sub-directories, overlayfs 1 for what it merges): no image says them.
      size: directory ? 0n : stat.size,
      mtimeNs: stat.mtimeNs,
      nlink: directory ? 0n : stat.nlink,
      rdev: device ? stat.rdev : 0n,
      links: directory ? '' : (firstName.get(inode) ?? ''),
      target: type === 'symlink' ? readlinkSync(path, 'buffer').toString('latin1') : '',
      xattrs: JSON.stringify(xattrsOf(path)),
      content: type === 'file' ? contentDigest(path, buffer) : '',
    });
    if (!directory) return;
    const names = readdirSync(path, 'buffer').sort(Buffer.compare);
    for (const name of names)
      visit(relative.length === 0 ? name : Buffer.concat([relative, Buffer.from('/'), name]));
  };
  visit(Buffer.alloc(0));
  return rows;
}

/**
 * As `listTree`, in a thread of its own: a read that waits for a content must not hold up the test, through
 * whose own link the content may come.
 */
export function listTreeAside(root: string): Promise<TreeListing> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('list-tree-worker.ts', import.meta.url), { workerData: root });
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error(`listing ${root} ended early`)));
  });
}

/** The differences of two listings, a line each, at most `limit` of them; none when they are the same. */
export function compareTrees(expected: TreeListing, actual: TreeListing, limit = 100): string[] {
  const differences: string[] = [];
  for (const [path, row] of expected) {
    const other = actual.get(path);
    const name = JSON.stringify(path);
    if (other === undefined) {
      differences.push(`${name}: missing`);
      continue;
    }
    for (const field of Object.keys(row) as (keyof TreeRow)[]) {
      if (row[field] !== other[field])
        differences.push(`${name}: ${field} is ${other[field]}, expected ${row[field]}`);
    }
  }
  for (const path of actual.keys())
    if (!expected.has(path)) differences.push(`${JSON.stringify(path)}: must not be there`);
  return differences.length <= limit
    ? differences
    : [...differences.slice(0, limit), `… ${differences.length - limit} more`];
}
