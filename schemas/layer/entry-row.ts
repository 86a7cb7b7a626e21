import type { TocEntry } from '../toc/builder.ts';
import { KIND, type Kind } from '../toc/kind.ts';
import { LayerError } from './layer-error.ts';
import type { RawXattr, TarEntry } from './tar-entry.ts';

/** A row of a table of contents, but for its content. */
export type EntryRow = Required<Omit<TocEntry, 'content'>>;

const SLASH = '/';
const NO_BYTES = Buffer.alloc(0);
const WHITEOUT_PREFIX = '.wh.';
const META_PREFIX = '.wh..wh.';
const OPAQUE_NAME = '.wh..wh..opq';

/**
 * A name of a tar as a path relative to the root: what Go's filepath.Clean makes of it, an absolute name
 * being one below the root. Latin-1 text, a character a byte.
 *
 * @throws {LayerError} `path` when it leads out of the root.
 */
function cleanPath(name: Buffer): string[] {
  const text = name.toString('latin1');
  if (text.includes('\0')) throw new LayerError('path', 'a path with a NUL');
  const components: string[] = [];
  for (const component of text.split(SLASH)) {
    if (component === '' || component === '.') continue;
    if (component !== '..') components.push(component);
    else if (components.pop() === undefined && !text.startsWith(SLASH)) {
      throw new LayerError(
        'path',
        `a path that leads out of the tree: ${JSON.stringify(text.slice(0, 200))}`,
      );
    }
  }
  return components;
}

function bytesOf(components: readonly string[]): Buffer {
  return Buffer.from(components.join(SLASH), 'latin1');
}

/** os.Chtimes takes a signed 64-bit count of nanoseconds. */
const MAX_MTIME_SEC = 9_223_372_036;

/** containerd, archive/time.go boundTime: a time that does not fit becomes the epoch, one before it as well. */
function boundTime(entry: TarEntry): { mtimeSec: number; mtimeNsec: number } {
  const { mtimeSec, mtimeNsec } = entry;
  return mtimeSec < 0 || mtimeSec >= MAX_MTIME_SEC ? { mtimeSec: 0, mtimeNsec: 0 } : { mtimeSec, mtimeNsec };
}

/**
 * The attributes that containerd sets: none of the `trusted.` namespace (it would let a layer forge
 * overlayfs's own), and those of users only where Linux has them, on files and directories.
 */
function keptXattrs(entry: TarEntry): RawXattr[] {
  const userAllowed = entry.type === 'file' || entry.type === 'directory' || entry.type === 'hardlink';
  return entry.xattrs.filter(([name]) => {
    const text = name.toString('latin1');
    return !text.startsWith('trusted.') && (userAllowed || !text.startsWith('user.'));
  });
}

function marker(kind: Kind, path: Buffer): EntryRow {
  return {
    kind,
    path,
    mode: 0,
    uid: 0,
    gid: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
    devMajor: 0,
    devMinor: 0,
    link: NO_BYTES,
    xattrs: [],
  };
}

/**
 * The row that a tar entry becomes, by what containerd makes of the entry when it unpacks a layer
 * (pkg/archive/tar.go). Nothing where it makes nothing: for the root directory, whose entry it skips, and
 * for what AUFS left behind (`.wh..wh.plnk`).
 *
 * @throws {LayerError} `path` when a path, a hard link's target or a whiteout leads out of the tree.
 */
export function rowOf(entry: TarEntry): EntryRow | undefined {
  const components = cleanPath(entry.name);
  const base = components.at(-1);
  if (base === undefined) return undefined;
  if (base === OPAQUE_NAME) return marker(KIND.opaque, bytesOf(components.slice(0, -1)));
  if (components.some((component) => component.startsWith(META_PREFIX))) return undefined;
  if (base.startsWith(WHITEOUT_PREFIX)) {
    const hidden = base.slice(WHITEOUT_PREFIX.length);
    // Without this check a layer could remove the directory itself, or its parent.
    if (hidden === '' || hidden === '.' || hidden === '..') {
      throw new LayerError('path', `a whiteout of ${JSON.stringify(hidden)}`);
    }
    return marker(KIND.whiteout, bytesOf([...components.slice(0, -1), hidden]));
  }
  const { uid, gid, devMajor, devMinor } = entry;
  return {
    kind: KIND[entry.type],
    path: bytesOf(components),
    mode: entry.type === 'symlink' ? 0o777 : entry.mode,
    uid,
    gid,
    ...boundTime(entry),
    devMajor,
    devMinor,
    link: linkOf(entry),
    xattrs: keptXattrs(entry),
  };
}

function linkOf(entry: TarEntry): Buffer {
  if (entry.type === 'symlink') return entry.linkName;
  return entry.type === 'hardlink' ? bytesOf(cleanPath(entry.linkName)) : NO_BYTES;
}
