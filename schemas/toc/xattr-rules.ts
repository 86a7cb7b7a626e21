import { KIND, type Kind } from './kind.ts';
import type { Xattr } from './layer-toc.ts';

const NONE_AT_ALL: readonly Xattr[] = [];

/**
 * Those attributes of a tar entry that end up on the file when containerd applies it (archive/tar.go,
 * createTarFile; tar_unix.go, setxattr): `trusted.` never, `user.` on files and directories only (xattr(7)),
 * and of the rest what a Linux file system accepts.
 */
export function applicable(kind: Kind, xattrs: readonly Xattr[]): readonly Xattr[] {
  if (xattrs.length === 0) return NONE_AT_ALL;
  return xattrs.filter(([name]) => {
    const text = Buffer.from(name).toString('latin1');
    if (text.startsWith('user.')) return kind === KIND.file || kind === KIND.directory;
    return text.startsWith('security.') || text.startsWith('system.posix_acl_');
  });
}

/** What is there after `added` was set on a file that had `present`; names ascend. */
export function united(present: readonly Xattr[], added: readonly Xattr[]): readonly Xattr[] {
  if (added.length === 0) return present;
  if (present.length === 0) return added;
  const byName = new Map([...present, ...added].map((one) => [Buffer.from(one[0]).toString('latin1'), one]));
  return [...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
}

/** What chown(2) leaves of the attributes of what is no directory: it takes file capabilities away. */
export function afterChown(xattrs: readonly Xattr[]): readonly Xattr[] {
  if (xattrs.length === 0) return xattrs;
  return xattrs.filter(([name]) => Buffer.from(name).toString('latin1') !== 'security.capability');
}
