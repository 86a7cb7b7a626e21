import { createHash } from 'node:crypto';
import { NONE, type Tree } from '../../schemas/toc/tree.ts';
import type { LayerEntry } from './toc-entries.ts';

/**
 * A tree as text, one line per name: `path type mode`, then what is not as usual: `u:g`, `@seconds[.nsec]`,
 * `xN` for N names, `inode` sharing shown as `=first/path`, attributes as `name:value`, and last the text of a
 * file, the target of a symlink or the number of a device. `texts` are the layers the contents come from.
 */
export function listing(tree: Tree, texts: readonly (readonly LayerEntry[])[]): string[] {
  const known = new Map<string, string>();
  for (const [, , rest] of texts.flat()) {
    const text = rest?.content ?? '';
    known.set(`sha256:${createHash('sha256').update(text).digest('hex')}`, text);
  }
  const lines: string[] = [];
  for (const { inode, path } of tree.paths()) {
    const parts = [Buffer.from(path).toString('latin1'), type(tree, inode)];
    parts.push(((tree.mode[inode] ?? 0) & 0o7777).toString(8));
    if (tree.uid[inode] !== 0 || tree.gid[inode] !== 0) parts.push(`${tree.uid[inode]}:${tree.gid[inode]}`);
    const nsec = tree.mtimeNsec[inode] === 0 ? '' : `.${tree.mtimeNsec[inode]}`;
    if (tree.mtimeSec[inode] !== 0 || nsec !== '') parts.push(`@${tree.mtimeSec[inode]}${nsec}`);
    if (!tree.isDirectory(inode) && tree.nlink[inode] !== 1) parts.push(`x${tree.nlink[inode]}`);
    const first = Buffer.from(tree.firstPath(inode)).toString('latin1');
    if (first !== parts[0]) parts.push(`=${first}`);
    for (const [name, value] of tree.xattrs(inode)) parts.push(`${Buffer.from(name)}:${Buffer.from(value)}`);
    const content = tree.content[inode] ?? NONE;
    if (content !== NONE) parts.push(known.get(tree.digestOfContent(content)) ?? 'unknown content');
    const target = tree.linkAt(inode);
    if (target.length > 0) parts.push(`-> ${Buffer.from(target).toString('latin1')}`);
    if (tree.rdev[inode] !== 0) parts.push(`${(tree.rdev[inode] ?? 0).toString(16)}`);
    lines.push(parts.join(' '));
  }
  return lines.sort();
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [0o040000, 'd'],
  [0o100000, 'f'],
  [0o120000, 'l'],
  [0o020000, 'c'],
  [0o060000, 'b'],
  [0o010000, 'p'],
]);

function type(tree: Tree, inode: number): string {
  return TYPES.get((tree.mode[inode] ?? 0) & 0o170000) ?? '?';
}
