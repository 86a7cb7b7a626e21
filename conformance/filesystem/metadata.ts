import assert from 'node:assert/strict';
import { lstat, readlink, stat, statfs } from 'node:fs/promises';
import { KIND } from '../../schemas/toc/kind.ts';
import { type DriverFactory, Fixture, run, type SampleMount } from './fixture.ts';
import { directory, file, type SampleEntry, sampleTree } from './sample-tree.ts';

/** VFS_CAP_REVISION_2 with cap_net_raw, as `setcap cap_net_raw+ep` writes it. */
const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex');
const NOT_UTF8 = Buffer.from('63616665e9ff80', 'hex');
const LONG_NAME = 'n'.repeat(255);
const LONG_TARGET = `/${'t/'.repeat(2047)}`;
const ONE = Buffer.from('one');
const S_IF = {
  directory: 0o040000,
  file: 0o100000,
  link: 0o120000,
  char: 0o020000,
  block: 0o060000,
  fifo: 0o010000,
};

interface Row {
  readonly what: string;
  readonly entry: SampleEntry;
  readonly mode: number;
  readonly size?: number;
  readonly nlink?: number;
  readonly rdev?: number;
}

const ROWS: readonly Row[] = [
  { what: 'a plain file', entry: file('plain', ONE), mode: S_IF.file | 0o644, size: 3 },
  { what: 'an empty file', entry: file('empty', Buffer.alloc(0)), mode: S_IF.file | 0o644, size: 0 },
  { what: 'a file nobody may use', entry: file('none', ONE, { mode: 0 }), mode: S_IF.file },
  { what: 'setuid', entry: file('suid', ONE, { mode: 0o4755 }), mode: S_IF.file | 0o4755 },
  { what: 'setgid', entry: file('sgid', ONE, { mode: 0o2755 }), mode: S_IF.file | 0o2755 },
  { what: 'all bits', entry: file('bits', ONE, { mode: 0o7777 }), mode: S_IF.file | 0o7777 },
  { what: 'a sticky directory', entry: directory('tmp', { mode: 0o1777 }), mode: S_IF.directory | 0o1777 },
  {
    what: 'owners above 65535',
    entry: file('owner', ONE, { uid: 3_000_000_001, gid: 70_000 }),
    mode: S_IF.file | 0o644,
  },
  {
    what: 'the last owner but one',
    entry: file('owner2', ONE, { uid: 0xfffffffe, gid: 0xfffffffe }),
    mode: S_IF.file | 0o644,
  },
  { what: 'mtime 0', entry: file('epoch', ONE, { mtimeSec: 0 }), mode: S_IF.file | 0o644 },
  {
    what: 'an mtime with nanoseconds',
    entry: file('nanos', ONE, { mtimeNsec: 123_456_789 }),
    mode: S_IF.file | 0o644,
  },
  { what: 'an mtime before 1970', entry: file('old', ONE, { mtimeSec: -86_400 }), mode: S_IF.file | 0o644 },
  {
    what: 'an mtime before 1902',
    entry: file('older', ONE, { mtimeSec: -3_000_000_000 }),
    mode: S_IF.file | 0o644,
  },
  {
    what: 'an mtime after 2106',
    entry: file('future', ONE, { mtimeSec: 7_000_000_000 }),
    mode: S_IF.file | 0o644,
  },
  {
    what: 'a character device',
    entry: { kind: KIND.chardev, path: 'null', mode: 0o666, devMajor: 1, devMinor: 3 },
    mode: S_IF.char | 0o666,
    rdev: 0x103,
  },
  {
    what: 'a block device with a large minor',
    entry: { kind: KIND.blockdev, path: 'disk', mode: 0o660, devMajor: 259, devMinor: 70_000 },
    mode: S_IF.block | 0o660,
    // makedev(3) of glibc, which stat(2) shows
    rdev: (70_000 & 0xff) | (259 << 8) | ((70_000 & ~0xff) * 0x1000),
  },
  { what: 'a FIFO', entry: { kind: KIND.fifo, path: 'pipe', mode: 0o600 }, mode: S_IF.fifo | 0o600 },
  {
    what: 'a symlink',
    entry: { kind: KIND.symlink, path: 'link', link: 'plain', mode: 0o777 },
    mode: S_IF.link | 0o777,
    size: 5,
  },
  { what: 'a name that is not UTF-8', entry: file(NOT_UTF8, ONE), mode: S_IF.file | 0o644 },
  { what: 'a name of 255 bytes', entry: file(LONG_NAME, ONE), mode: S_IF.file | 0o644 },
  {
    what: 'a name of 255 bytes that are not UTF-8',
    entry: file(Buffer.alloc(255, 0xfe), ONE),
    mode: S_IF.file | 0o644,
  },
];

const LINKS: readonly { readonly what: string; readonly path: string; readonly target: Uint8Array }[] = [
  { what: 'relative', path: 'links/relative', target: Buffer.from('../plain') },
  { what: 'absolute', path: 'links/absolute', target: Buffer.from('/etc/passwd') },
  { what: 'not UTF-8', path: 'links/bytes', target: NOT_UTF8 },
  { what: '4095 bytes', path: 'links/long', target: Buffer.from(LONG_TARGET) },
  { what: 'itself', path: 'links/loop', target: Buffer.from('loop') },
];

const XATTRS: Readonly<Record<string, Readonly<Record<string, Uint8Array>>>> = {
  'xattrs/capability': { 'security.capability': CAPABILITY },
  'xattrs/user': { 'user.comment': Buffer.from('höhe'), 'user.zero': Buffer.from([0, 255, 0]) },
  'xattrs/large': { 'user.large': Buffer.alloc(4000, 0x61) },
  'xattrs/opaque': { 'trusted.overlay.opaque': Buffer.from('y'), 'user.kept': Buffer.from('1') },
};

const TREE: readonly SampleEntry[] = [
  ...ROWS.map(({ entry }) => entry),
  directory('links'),
  ...LINKS.map(({ path, target }) => ({ kind: KIND.symlink, path, link: target })),
  directory('a'),
  directory('b'),
  file('a/first', Buffer.from('shared')),
  { kind: KIND.hardlink, path: 'b/second', link: 'a/first' },
  { kind: KIND.hardlink, path: 'b/third', link: 'a/first' },
  directory('xattrs'),
  ...Object.entries(XATTRS).map(([path, xattrs]) => file(path, ONE, { xattrs })),
];

/** What stat(2) shows of a tree. */
export function describeMetadata(makeDriver: DriverFactory): void {
  describe('metadata', () => {
    let fixture: Fixture;
    let mount: SampleMount;

    before(async () => {
      fixture = await Fixture.open(makeDriver);
      const tree = sampleTree(TREE);
      // Merging makes times before 1970 zero, as containerd does; a driver takes them as they stand in the tree.
      for (const { entry } of ROWS) {
        const { mtimeSec = 0 } = entry;
        if (mtimeSec < 0) tree.mtimeSec[tree.resolve(Buffer.from(entry.path))] = mtimeSec;
      }
      mount = await fixture.mount(tree);
    });
    after(() => fixture.close());

    for (const { what, entry, mode, size, nlink, rdev } of ROWS) {
      it(`shows ${what}`, async () => {
        const seen = await lstat(at(mount, entry.path), { bigint: true });
        assert.equal(seen.mode, BigInt(mode));
        assert.equal(seen.uid, BigInt(entry.uid ?? 0));
        assert.equal(seen.gid, BigInt(entry.gid ?? 0));
        assert.equal(seen.mtimeNs, shownMtime(fixture, entry));
        if (size !== undefined) assert.equal(seen.size, BigInt(size));
        if (nlink !== undefined) assert.equal(seen.nlink, BigInt(nlink));
        assert.equal(seen.rdev, BigInt(rdev ?? 0));
      });
    }

    for (const { what, path, target } of LINKS) {
      it(`shows a symlink's target: ${what}`, async () => {
        const seen = await readlink(at(mount, path), { encoding: 'buffer' });
        assert.deepEqual(seen, Buffer.from(target));
        assert.equal((await lstat(at(mount, path))).size, target.length);
      });
    }

    it('follows links, and ends a loop with ELOOP', async () => {
      assert.equal((await stat(at(mount, 'links/relative'))).size, 3);
      await assert.rejects(stat(at(mount, 'links/loop')), { code: 'ELOOP' });
    });

    it('shows hard links in several directories as one inode', async () => {
      const [first, second, third] = await Promise.all(
        ['a/first', 'b/second', 'b/third'].map((path) => lstat(at(mount, path), { bigint: true })),
      );
      assert.equal(first?.nlink, 3n);
      assert.deepEqual([second?.ino, third?.ino], [first?.ino, first?.ino]);
      assert.notEqual((await lstat(at(mount, 'plain'), { bigint: true })).ino, first?.ino);
    });

    for (const [path, xattrs] of Object.entries(XATTRS)) {
      it(`shows the extended attributes of ${path}, those of overlayfs never`, async () => {
        const shown = Object.entries(xattrs).filter(([name]) => !name.startsWith('trusted.'));
        const expected = new Map(shown.map(([name, value]) => [name, Buffer.from(value).toString('hex')]));
        assert.deepEqual(await listXattrs(mount, path), expected);
      });
    }

    it('shows no attributes where there are none', async () => {
      assert.deepEqual(await listXattrs(mount, 'plain'), new Map());
    });

    it('answers ENOENT for a name that is not there, and ENOTDIR below a file', async () => {
      await assert.rejects(lstat(at(mount, 'absent')), { code: 'ENOENT' });
      await assert.rejects(lstat(at(mount, 'absent')), { code: 'ENOENT' });
      await assert.rejects(lstat(at(mount, 'plain/below')), { code: 'ENOTDIR' });
      await assert.rejects(lstat(at(mount, Buffer.from('cafe'))), { code: 'ENOENT' });
    });

    it('answers statfs with names of 255 bytes', async () => {
      const { stdout } = await run('stat', ['-f', '-c', '%l', mount.path]);
      assert.equal(stdout.toString().trim(), '255');
      assert.equal((await statfs(mount.path)).bfree, 0);
    });
  });
}

/** A path within a mount, bytes kept. */
export function at(mount: SampleMount, path: string | Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${mount.path}/`), Buffer.from(path)]);
}

function shownMtime({ driver }: Fixture, entry: SampleEntry): bigint {
  const exact = BigInt(entry.mtimeSec ?? 0) * 1_000_000_000n + BigInt(entry.mtimeNsec ?? 0);
  const { nanoseconds, beforeEpoch } = driver.abilities;
  if (exact < 0n && !beforeEpoch) return 0n;
  return nanoseconds ? exact : (exact / 1_000_000n) * 1_000_000n;
}

async function listXattrs(mount: SampleMount, path: string): Promise<Map<string, string>> {
  const { stdout, stderr, code } = await run('getfattr', [
    '-h',
    '-d',
    '-m',
    '-',
    '-e',
    'hex',
    `${mount.path}/${path}`,
  ]);
  assert.equal(code, 0, stderr);
  const lines = stdout.toString().split('\n');
  return new Map(
    lines.flatMap((line) => {
      const match = /^([^#=]+)=0x([0-9a-f]*)$/.exec(line);
      return match === null ? [] : [[match[1] ?? '', match[2] ?? ''] as const];
    }),
  );
}
