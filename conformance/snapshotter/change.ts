import {
  chmod,
  lchown,
  link as linkFile,
  mkdir,
  rename as renameFile,
  rm,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';

/** One change of a directory tree; paths are relative to its root. */
export type Change =
  | { readonly kind: 'file'; readonly path: string; readonly content: string; readonly mode: number }
  | { readonly kind: 'directory'; readonly path: string; readonly mode: number }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'chown'; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly kind: 'link'; readonly from: string; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly path: string };

/** Creates a file, or gives an existing one this content and mode. */
export function file(path: string, content: string, mode: number): Change {
  return { kind: 'file', path, content, mode };
}

export function directory(path: string, mode: number): Change {
  return { kind: 'directory', path, mode };
}

/** Removes a path and all below; nothing when it does not exist. */
export function remove(path: string): Change {
  return { kind: 'remove', path };
}

export function chown(path: string, uid: number, gid: number): Change {
  return { kind: 'chown', path, uid, gid };
}

/** Gives the file `from` the further name `path`. */
export function link(from: string, path: string): Change {
  return { kind: 'link', from, path };
}

export function rename(from: string, path: string): Change {
  return { kind: 'rename', from, path };
}

/** Applies changes to the tree at `root` in their order. Modes do not depend on the umask. */
export async function apply(root: string, changes: readonly Change[]): Promise<void> {
  for (const change of changes) await applyOne(change, (path) => join(root, path));
}

async function applyOne(change: Change, at: (path: string) => string): Promise<void> {
  const path = at(change.path);
  switch (change.kind) {
    case 'file':
      await writeFile(path, change.content);
      return chmod(path, change.mode);
    case 'directory':
      await mkdir(path);
      return chmod(path, change.mode);
    case 'remove':
      return rm(path, { recursive: true, force: true });
    case 'chown':
      return lchown(path, change.uid, change.gid);
    case 'link':
      return linkFile(at(change.from), path);
    case 'rename':
      return renameFile(at(change.from), path);
    default:
      throw new Error(`unknown change ${change satisfies never}`);
  }
}
