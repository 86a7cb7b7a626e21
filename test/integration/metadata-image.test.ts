import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { file, type SampleEntry, sampleTree } from '../../conformance/filesystem/sample-tree.ts';
import { run, tryRun } from '../../scripts/lib/child.ts';
import { unmountBelow } from '../../scripts/lib/mounts.ts';
import { digestHex, digestOf } from '../../schemas/oci/digest.ts';
import { KIND } from '../../schemas/toc/kind.ts';
import { MetadataImage } from '../../worker/complete/erofs/metadata-image.ts';
import { mountForm, type MountWay } from '../../worker/complete/form-mount.ts';
import { type CompleteSupport, findSupport } from '../../worker/complete/support.ts';
import type { ImageForm } from '../../worker/snapshotter/snapshot.ts';
import { skip } from '../support/skip.ts';
import { listTree, type TreeRow } from '../support/tree-listing.ts';
import { xattrsOf } from '../support/xattrs.ts';

const ACL = Buffer.from(
  '0200000001000700ffffffff02000500e803000004000500ffffffff10000500ffffffff20000500ffffffff',
  'hex',
);
const CAPABILITY = Buffer.from('0100000200040000000000000000000000000000', 'hex');
const EMPTY = new Uint8Array(0);

/** The kernel's own word on what the writer has written: mounted, and below overlayfs. */
describe('a metadata image, mounted', function () {
  this.timeout(60_000);
  let directory: string;
  let support: CompleteSupport;

  before(async function () {
    directory = mkdtempSync(join(tmpdir(), 'sl-erofs-'));
    support = await findSupport(join(directory, 'probe'));
    if (!support.usable) skip(this, support.reason);
  });
  after(async () => {
    await unmountBelow(directory);
    await rm(directory, { recursive: true, force: true });
  });

  /** What an overlay of the image over the store shows, by path. */
  async function show(
    entries: readonly SampleEntry[],
    way?: MountWay,
  ): Promise<ReadonlyMap<string, TreeRow>> {
    const base = await place(entries, way);
    return listTree(await overlay(base, `lowerdir=${base}/lower::${base}/store`));
  }

  /** Mounts the image of these entries. @returns the directory that holds it as `lower`, and `store`. */
  async function place(entries: readonly SampleEntry[], way?: MountWay): Promise<string> {
    assert.ok(support.usable);
    const base = mkdtempSync(join(directory, 'image-'));
    for (const { bytes = EMPTY } of entries) {
      const hex = digestHex(digestOf(bytes));
      const path = join(base, 'store', hex.slice(0, 2), hex.slice(2));
      mkdirSync(dirname(path), { recursive: true });
      if (bytes.length > 0) writeFileSync(path, bytes);
    }
    for (const name of ['store', 'lower']) mkdirSync(join(base, name), { recursive: true });
    writeFileSync(
      join(base, 'image'),
      Buffer.concat([...new MetadataImage(sampleTree(entries), Buffer.alloc(16, 7)).pieces()]),
    );
    await mountForm(join(base, 'image'), join(base, 'lower'), way ?? support.way);
    return base;
  }

  async function overlay(base: string, layers: string, form = formHere()): Promise<string> {
    const merged = mkdtempSync(join(base, 'merged-'));
    const options = form === 'complete-metacopy' ? 'metacopy=on,redirect_dir=on,' : '';
    await run('mount', ['-t', 'overlay', 'overlay', '-o', `${options}index=off,${layers}`, merged]);
    return merged;
  }

  function formHere(): ImageForm {
    return support.usable ? support.form : 'served';
  }

  const bytes = (text: string | number): Buffer =>
    typeof text === 'string' ? Buffer.from(text) : Buffer.alloc(text, 'x');

  it('is mounted through a loop device as well', async () => {
    const shown = await show([file('a', bytes('by loop'))], 'loop');
    assert.equal(shown.get('a')?.content, digestHex(digestOf('by loop')));
  });

  it('below a directory written with metacopy=on, where the kernel wants that, stays right', async () => {
    const base = await place([
      file('changed', bytes('changed')),
      file('d/moved', bytes('moved')),
      file('d/stays', bytes('stays')),
    ]);
    for (const name of ['upper', 'work', 'upper-2', 'work-2']) mkdirSync(join(base, name));
    const lower = `${base}/lower::${base}/store`;
    const first = `lowerdir=${lower},upperdir=${base}/upper,workdir=${base}/work`;
    const root = await overlay(base, first, 'complete-metacopy');
    await run('sh', ['-ec', 'cd "$0"; chmod 700 changed; mv d e; chmod 711 e/moved; mv e/moved moved', root]);
    await run('umount', [root]);
    const names = xattrsOf(Buffer.from(`${base}/upper/changed`)).map(([name]) => name);
    assert.ok(names.includes('trusted.overlay.metacopy'), 'metadata alone');
    const second = `lowerdir=${base}/upper:${lower},upperdir=${base}/upper-2,workdir=${base}/work-2`;
    for (const layers of [first, second, `lowerdir=${base}/upper:${lower}`]) {
      const shown = listTree(await overlay(base, layers, 'complete-metacopy'));
      const read = (path: string) => [shown.get(path)?.mode, shown.get(path)?.content];
      assert.deepEqual(read('changed'), ['700', digestHex(digestOf('changed'))]);
      assert.deepEqual(read('moved'), ['711', digestHex(digestOf('moved'))]);
      assert.deepEqual(read('e/stays'), ['644', digestHex(digestOf('stays'))]);
      assert.ok(!shown.has('d'));
      await unmountOverlays(base);
    }
  });

  async function unmountOverlays(base: string): Promise<void> {
    for (const name of readdirSync(base).filter((one) => one.startsWith('merged-'))) {
      await tryRun('umount', [join(base, name)]);
    }
  }

  it('shows owners, modes and times', async () => {
    const shown = await show([
      file('a', bytes('a'), {
        uid: 4_000_000_000,
        gid: 70_000,
        mode: 0o6751,
        mtimeSec: 1_700_000_000,
        mtimeNsec: 123_456_789,
      }),
      file('b', bytes('b'), { mtimeSec: 6_000_000_000, mtimeNsec: 999_999_999 }),
      { kind: KIND.directory, path: 'sticky', mode: 0o1777, uid: 1, gid: 2, mtimeSec: 5 },
    ]);
    const a = shown.get('a');
    assert.deepEqual(
      [a?.owner, a?.mode, a?.mtimeNs],
      ['4000000000:70000', '6751', 1_700_000_000_123_456_789n],
    );
    assert.equal(shown.get('b')?.mtimeNs, 6_000_000_000_999_999_999n);
    const sticky = shown.get('sticky');
    assert.deepEqual([sticky?.owner, sticky?.mode, sticky?.mtimeNs], ['1:2', '1777', 5_000_000_000n]);
  });

  it('shows links, devices, pipes and long targets', async () => {
    const targets = [1, 60, 3900, 3968, 3969, 4020, 4095].map((length) => 't'.repeat(length));
    const shown = await show([
      file('one', bytes('shared')),
      { kind: KIND.hardlink, path: 'd/two', link: 'one', mode: 0o600 },
      { kind: KIND.chardev, path: 'null', mode: 0o666, devMajor: 1, devMinor: 3 },
      { kind: KIND.blockdev, path: 'disk', mode: 0o600, devMajor: 259, devMinor: 1_000_000 },
      { kind: KIND.fifo, path: 'pipe', mode: 0o644 },
      ...targets.map(
        (link): SampleEntry => ({ kind: KIND.symlink, path: `l${link.length}`, link, mode: 0o777 }),
      ),
    ]);
    assert.deepEqual([shown.get('one')?.nlink, shown.get('d/two')?.nlink], [2n, 2n]);
    assert.equal(shown.get('one')?.links, shown.get('d/two')?.links);
    assert.deepEqual([shown.get('null')?.type, shown.get('null')?.rdev], ['chardev', 0x103n]);
    assert.equal(
      shown.get('disk')?.rdev,
      BigInt((1_000_000 & 0xff) | (259 << 8)) | (BigInt(1_000_000 & ~0xff) << 12n),
    );
    assert.equal(shown.get('pipe')?.type, 'fifo');
    for (const target of targets) assert.equal(shown.get(`l${target.length}`)?.target, target);
  });

  it('shows extended attributes and none of overlayfs', async () => {
    const user = Object.fromEntries(
      Array.from({ length: 60 }, (_, index) => [`user.n${index}`, bytes(100 + index)]),
    );
    const shown = await show([
      file('capable', bytes('c'), { xattrs: { 'security.capability': CAPABILITY } }),
      file('many', bytes('m'), { xattrs: user }),
      file('acl', bytes('a'), { mode: 0o755, xattrs: { 'system.posix_acl_access': ACL } }),
      file('large', EMPTY, { xattrs: { 'user.large': bytes(20_000) } }),
      {
        kind: KIND.directory,
        path: 'd',
        mode: 0o755,
        xattrs: { 'user.d': bytes('v'), 'system.posix_acl_default': ACL },
      },
    ]);
    const names = (path: string): string[] =>
      (JSON.parse(shown.get(path)?.xattrs ?? '[]') as string[][]).map(([name = '']) => name); // as listTree writes them
    assert.deepEqual(names('capable'), ['security.capability']);
    assert.deepEqual(names('many').sort(), Object.keys(user).sort());
    assert.deepEqual(names('acl'), ['system.posix_acl_access']);
    assert.deepEqual(names('large'), ['user.large']);
    assert.deepEqual(names('d').sort(), ['system.posix_acl_default', 'user.d']);
  });

  it('shows contents of all sizes, equal ones as files of their own', async () => {
    const sizes = [0, 1, 4095, 4096, 4097, 100_000, 5_000_001];
    const shown = await show([
      ...sizes.map((size) => file(`s${size}`, bytes(size))),
      file('same', bytes(4096), { mode: 0o600 }),
    ]);
    for (const size of sizes) {
      const row = shown.get(`s${size}`);
      assert.equal(row?.size, BigInt(size));
      assert.equal(row?.content, digestHex(digestOf(bytes(size))));
    }
    assert.deepEqual([shown.get('same')?.mode, shown.get('s4096')?.mode], ['600', '644']);
    assert.notEqual(shown.get('same')?.links, shown.get('s4096')?.links);
  });

  it('finds each of very many names, long ones, short ones and such that are no text', async () => {
    const paths = [
      ...Array.from({ length: 6000 }, (_, index) => `many/${'n'.repeat(index % 200)}${index}`),
      ...['!', '-', '.-', '..a', '...', 'z'.repeat(255)].map((name) => `odd/${name}`),
      `deep/${'d/'.repeat(150)}end`,
    ];
    const raw = Buffer.from('odd/\xff\xfe\x80', 'latin1');
    const shown = await show([...paths.map((path) => file(path, EMPTY)), file(raw, bytes('raw'))]);
    const files = [...shown].filter(([, { type }]) => type === 'file').map(([path]) => path);
    assert.deepEqual(files.sort(), [...paths, raw.toString('latin1')].sort());
  });

  it('inodes fit however their attributes and data fall on the borders of blocks', async () => {
    const entries: SampleEntry[] = [];
    for (let size = 0; size < 400; size += 7) {
      const xattrs = { 'user.pad': bytes(size * 11) };
      entries.push({ kind: KIND.directory, path: `d${size}`, mode: 0o755, xattrs });
      entries.push(file(`d${size}/${'e'.repeat(1 + (size % 255))}`, bytes(`in ${size}`), { xattrs }));
      const link = 'y'.repeat(1 + size * 9);
      entries.push({ kind: KIND.symlink, path: `l${size}`, link, mode: 0o777 });
    }
    const shown = await show(entries);
    assert.equal(shown.size, entries.length + 1);
    for (let size = 0; size < 400; size += 7) {
      assert.equal(shown.get(`l${size}`)?.size, BigInt(1 + size * 9));
      const row = shown.get(`d${size}/${'e'.repeat(1 + (size % 255))}`);
      assert.equal(row?.content, digestHex(digestOf(`in ${size}`)));
    }
  });
});
