import { readFileSync } from 'node:fs';
import type { ImageSource } from './images.ts';
import { device, directory, fifo, file, hardlink, opaque, symlink, type TarEntry, whiteout } from './tar.ts';

/**
 * An image with every awkward thing that a layer can say, in three layers that rename, replace, hide and bring
 * back what lies below. It runs: it holds busybox. (Old GNU sparse entries are left out: containerd refuses
 * such a layer, as an unhandled type of header; so are hard links to files of lower layers, which it cannot apply.)
 */

const T = 1_700_000_000;

/** `cap_net_bind_service=ep` as the kernel keeps it: VFS_CAP_REVISION_2 with the effective bit. */
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');

const bytes = (...parts: (string | number)[]) =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from([part]))));

function manyEntries(count: number): TarEntry[] {
  return Array.from({ length: count }, (_, i) =>
    file(`many/file-${i}`, i % 7 === 0 ? '' : `content ${i % 50}`, { mtimeSeconds: T + i }),
  );
}

function base(busybox: Uint8Array): TarEntry[] {
  return [
    directory('', { mode: 0o755, mtimeSeconds: T }),
    directory('bin', { mtimeSeconds: T }),
    file('bin/busybox', busybox, { mode: 0o755, mtimeSeconds: T }),
    ...['sh', 'cat', 'ls', 'echo', 'sleep', 'sha256sum', 'find', 'stat', 'wc'].map((name) =>
      symlink(`bin/${name}`, 'busybox', { mtimeSeconds: T }),
    ),
    directory('tmp', { mode: 0o1777, mtimeSeconds: T }),
    directory('proc', { mtimeSeconds: T }),
    directory('sys', { mtimeSeconds: T }),
    directory('dev', { mtimeSeconds: T }),
    directory('etc', { mtimeSeconds: T }),
    directory('odd', { mode: 0o2750, uid: 1000, gid: 2000, mtimeSeconds: T }),
    file('odd/setuid', 'setuid', { mode: 0o4755, mtimeSeconds: T + 0.5 }),
    file('odd/setgid', 'setgid', { mode: 0o2755, mtimeSeconds: T + 0.123456789 }),
    file('odd/sticky', 'sticky', { mode: 0o1644, mtimeSeconds: T }),
    file('odd/no-rights', 'nobody may read this', { mode: 0, mtimeSeconds: T }),
    file('odd/capable', 'capable', {
      mode: 0o755,
      mtimeSeconds: T,
      xattrs: { 'security.capability': CAPABILITY },
    }),
    file('odd/xattrs', 'xattrs', {
      mtimeSeconds: T,
      xattrs: {
        'user.empty': '',
        'user.text': 'text',
        'user.bytes': bytes(0, 1, 255, 10, '='),
        'user.große': 'ß',
      },
    }),
    directory('odd/xattr-directory', { mtimeSeconds: T, xattrs: { 'user.on': 'a directory' } }),
    file('odd/large-owner', 'x', { uid: 4_000_000_000, gid: 70_000, mtimeSeconds: T }),
    file('odd/before-1970', 'old', { mtimeSeconds: -86_400 }),
    file('odd/before-1901', 'older', { mtimeSeconds: -3_000_000_000 }),
    file('odd/after-2038', 'future', { mtimeSeconds: 4_200_000_000 }),
    file('odd/after-2106', 'far future', { mtimeSeconds: 6_000_000_000 }),
    file('odd/epoch', 'zero', { mtimeSeconds: 0 }),
    file('odd/empty', '', { mtimeSeconds: T }),
    file('odd/other-empty', '', { mode: 0o600, mtimeSeconds: T }),
    file('odd/sparse-pax', '', {
      mtimeSeconds: T,
      sparse: {
        form: 'pax',
        sizeBytes: 3_000_000,
        segments: [
          { offset: 0, data: Buffer.alloc(512, 1) },
          { offset: 2_000_000, data: Buffer.from('tail') },
        ],
      },
    }),
    file('odd/zeros', Buffer.alloc(3_000_000), { mtimeSeconds: T }),
    device('odd/null', 'character', 1, 3, { mode: 0o666, mtimeSeconds: T }),
    device('odd/loop', 'block', 7, 300, { mode: 0o660, gid: 6, mtimeSeconds: T }),
    device('odd/large-device', 'character', 4000, 1_000_000, { mtimeSeconds: T }),
    fifo('odd/fifo', { mode: 0o622, mtimeSeconds: T }),
    symlink('odd/loop-a', 'loop-b', { mtimeSeconds: T }),
    symlink('odd/loop-b', 'loop-a', { mtimeSeconds: T }),
    symlink('odd/self', 'self', { mtimeSeconds: T }),
    symlink('odd/dangling', '/nowhere/at/all', { uid: 5, gid: 6, mtimeSeconds: T - 5 }),
    symlink('odd/up', '../../../../../etc/passwd', { mtimeSeconds: T }),
    symlink('odd/bytes-target', bytes('caf', 0xe9, 0xff), { mtimeSeconds: T }),
    symlink('odd/long-target', `/${'t'.repeat(200)}/`.repeat(15), { mtimeSeconds: T }),
    directory('names', { mtimeSeconds: T }),
    file(`names/${'n'.repeat(255)}`, '255 bytes', { mtimeSeconds: T }),
    file(`names/${'ü'.repeat(127)}`, '254 bytes of UTF-8', { mtimeSeconds: T }),
    file(bytes('names/caf', 0xe9, 0xff), 'not UTF-8', { mtimeSeconds: T }),
    file(bytes('names/caf', 0xe9, 0xfe), 'not UTF-8 either, and the same when decoded carelessly', {
      mtimeSeconds: T,
    }),
    directory(bytes('names/dir', 0x80), { mtimeSeconds: T }),
    file(bytes('names/dir', 0x80, '/file', 0xc0), 'in a directory that is not UTF-8', { mtimeSeconds: T }),
    file('names/with space', 's', { mtimeSeconds: T }),
    file('names/with\nnewline\ttab', 's', { mtimeSeconds: T }),
    file('names/"quotes"\'\\$(reboot)', 's', { mtimeSeconds: T }),
    file('names/-rf', 's', { mtimeSeconds: T }),
    file('names/...', 's', { mtimeSeconds: T }),
    file('names/.hidden', 's', { mtimeSeconds: T }),
    directory('links', { mtimeSeconds: T }),
    directory('links/deep', { mtimeSeconds: T }),
    directory('links/deep/deeper', { mtimeSeconds: T }),
    file('links/one', 'shared by three names', { mode: 0o640, uid: 7, mtimeSeconds: T - 100 }),
    hardlink('links/deep/two', 'links/one'),
    hardlink('links/deep/deeper/three', 'links/deep/two'),
    file('links/copy', 'shared by three names', { mtimeSeconds: T }),
    symlink('links/symlink', 'one', { mtimeSeconds: T }),
    hardlink('links/symlink-too', 'links/symlink'),
    directory('many', { mtimeSeconds: T }),
    ...manyEntries(5000),
    directory('large', { mtimeSeconds: T }),
    file('large/random', awkwardLargeFile(), { mtimeSeconds: T }),
    directory('opaque', { mtimeSeconds: T }),
    file('opaque/lower', 'hidden by an opaque directory', { mtimeSeconds: T }),
    directory('opaque/sub', { mtimeSeconds: T }),
    file('opaque/sub/lower', 'hidden too', { mtimeSeconds: T }),
    directory('gone', { mtimeSeconds: T }),
    file('gone/file', 'goes', { mtimeSeconds: T }),
    directory('gone/directory', { mtimeSeconds: T }),
    file('gone/directory/file', 'goes with it', { mtimeSeconds: T }),
    file('gone/back', 'goes and comes back', { mtimeSeconds: T }),
    directory('kinds', { mtimeSeconds: T }),
    file('kinds/file-to-directory', 'f', { mtimeSeconds: T }),
    directory('kinds/directory-to-file', { mtimeSeconds: T }),
    file('kinds/directory-to-file/inside', 'f', { mtimeSeconds: T }),
    directory('kinds/directory-to-symlink', { mtimeSeconds: T }),
    symlink('kinds/symlink-to-file', 'file-to-directory', { mtimeSeconds: T }),
    fifo('kinds/fifo-to-file', { mtimeSeconds: T }),
    file('kinds/emptied', 'has content', { mtimeSeconds: T }),
    file('kinds/metadata', 'only its mode changes', { mode: 0o600, mtimeSeconds: T }),
    file('kinds/touched', 'only its time changes', { mtimeSeconds: T }),
    file('kinds/moved-from', 'moved across layers', { mtimeSeconds: T }),
    file('twice', 'the first of two entries of one name', { mtimeSeconds: T }),
    file('twice', 'the second wins', { mode: 0o600, mtimeSeconds: T + 1 }),
  ];
}

const SECOND: readonly TarEntry[] = [
  directory('opaque', { mode: 0o711, mtimeSeconds: T + 10 }),
  opaque('opaque'),
  file('opaque/upper', 'alone here', { mtimeSeconds: T + 10 }),
  directory('gone', { mtimeSeconds: T + 10 }),
  whiteout('gone/file'),
  whiteout('gone/directory'),
  whiteout('gone/back'),
  whiteout('gone/never-was'),
  directory('kinds', { mtimeSeconds: T + 10 }),
  directory('kinds/file-to-directory', { mtimeSeconds: T + 10 }),
  file('kinds/file-to-directory/inside', 'now a directory', { mtimeSeconds: T + 10 }),
  file('kinds/directory-to-file', 'now a file', { mtimeSeconds: T + 10 }),
  symlink('kinds/directory-to-symlink', '../many', { mtimeSeconds: T + 10 }),
  file('kinds/symlink-to-file', 'now a file', { mtimeSeconds: T + 10 }),
  file('kinds/fifo-to-file', 'now a file', { mtimeSeconds: T + 10 }),
  file('kinds/emptied', '', { mtimeSeconds: T + 10 }),
  file('kinds/metadata', 'only its mode changes', { mode: 0o755, uid: 9, mtimeSeconds: T }),
  file('kinds/touched', 'only its time changes', { mtimeSeconds: T + 10.25 }),
  whiteout('kinds/moved-from'),
  file('kinds/moved-to', 'moved across layers', { mtimeSeconds: T }),
  directory('links', { mtimeSeconds: T + 10 }),
  file('links/one', 'two of the three names are written anew', { mtimeSeconds: T + 10 }),
  directory('links/deep', { mtimeSeconds: T + 10 }),
  hardlink('links/deep/two', 'links/one'),
  whiteout('links/symlink-too'),
  directory('many', { mtimeSeconds: T + 10 }),
  whiteout('many/file-4999'),
  file('many/file-17', 'changed', { mtimeSeconds: T + 10 }),
];

const THIRD: readonly TarEntry[] = [
  directory('gone', { mtimeSeconds: T + 20 }),
  file('gone/back', 'came back', { mtimeSeconds: T + 20 }),
  directory('gone/directory', { mtimeSeconds: T + 20 }),
  file('gone/directory/other', 'in the directory that came back', { mtimeSeconds: T + 20 }),
  directory('opaque', { mode: 0o755, mtimeSeconds: T + 20 }),
  file('opaque/third', 'from the third layer', { mtimeSeconds: T + 20 }),
  directory('fresh', { mtimeSeconds: T + 20 }),
  opaque('fresh'),
  file('fresh/file', 'opaque where nothing was', { mtimeSeconds: T + 20 }),
  directory('odd', { mode: 0o2755, uid: 1000, gid: 2000, mtimeSeconds: T + 20 }),
  whiteout('odd/fifo'),
  device('odd/fifo', 'character', 5, 1, { mode: 0o620, mtimeSeconds: T + 20 }),
];

/** Bytes that do not compress, always the same. */
function pseudoRandom(sizeBytes: number): Buffer {
  const out = Buffer.alloc(sizeBytes);
  let state = 0x2545f491;
  for (let i = 0; i < sizeBytes; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[i] = state;
  }
  return out;
}

/** What `large/random` holds. */
export function awkwardLargeFile(): Buffer {
  return pseudoRandom(9_000_001);
}

/** @param busybox a static busybox to run in the container. */
export function awkwardImage(tag: string, busybox = '/bin/busybox'): ImageSource {
  return {
    tag,
    layers: [base(readFileSync(busybox)), SECOND, THIRD],
    config: { Cmd: ['/bin/sh', '-c', 'echo started; exec sleep 600'] },
  };
}
