import assert from 'node:assert/strict';
import { lstat, mkdir, readdir, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { KIND } from '../../schemas/toc/kind.ts';
import { type DriverFactory, Fixture, run, type SampleMount, start } from './fixture.ts';
import { sampleBytes } from './sample-content.ts';
import { directory, file, sampleTree } from './sample-tree.ts';

const LATE = sampleBytes(200_000, 3);
const HERE = Buffer.from('here\n');
const ATTRIBUTE = Buffer.from('kept');

/** What a container sees: overlayfs above the tree takes the writes. */
export function describeOverlay(makeDriver: DriverFactory): void {
  describe('below overlayfs', () => {
    let fixture: Fixture;
    let mount: SampleMount;
    let merged: string;

    before(async () => {
      fixture = await Fixture.open(makeDriver);
    });
    after(() => fixture.close());
    beforeEach(async () => {
      mount = await fixture.mount(
        sampleTree([
          directory('d', { mode: 0o750, uid: 7 }),
          directory('d/sub'),
          file('d/here', HERE, { mode: 0o4755, uid: 70_000, xattrs: { 'user.note': ATTRIBUTE } }),
          file('late', LATE, { mode: 0o640 }),
          { kind: KIND.hardlink, path: 'late-link', link: 'late' },
          { kind: KIND.symlink, path: 'link', link: 'd/here' },
        ]),
      );
      mount.contents.put(HERE);
      merged = await fixture.overlay(mount.path);
    });

    it('shows the tree', async () => {
      const [below, above] = await Promise.all([describeAll(mount.path), describeAll(merged)]);
      assert.deepEqual(above, below);
      assert.equal(above.length, 6);
    });

    it('appends to a file of the image', async () => {
      await writeFile(`${merged}/d/here`, 'more\n', { flag: 'a' });
      assert.equal(await readFile(`${merged}/d/here`, 'utf8'), 'here\nmore\n');
      assert.equal(await readFile(`${mount.path}/d/here`, 'utf8'), 'here\n');
      assert.equal((await stat(`${merged}/d/here`)).uid, 70_000);
      const { stdout } = await run('getfattr', ['--only-values', '-n', 'user.note', `${merged}/d/here`]);
      assert.deepEqual(stdout, ATTRIBUTE);
    });

    it('copies up a file that is still on its way, when it has come', async () => {
      const writer = start('sh', ['-c', 'echo end >>"$0"', `${merged}/late`]);
      await mount.contents.until(() => mount.contents.wanted.length > 0);
      mount.contents.put(LATE);
      const { code, stderr } = await writer.ended;
      assert.equal(code, 0, stderr);
      const seen = await readFile(`${merged}/late`);
      assert.ok(seen.equals(Buffer.concat([LATE, Buffer.from('end\n')])));
    });

    it('changes only the mode of a file on its way: the wait is the same', async () => {
      const changer = start('chmod', ['0600', `${merged}/late`]);
      await mount.contents.until(() => mount.contents.wanted.length > 0);
      mount.contents.put(LATE);
      assert.equal((await changer.ended).code, 0);
      assert.equal((await stat(`${merged}/late`)).mode & 0o7777, 0o600);
      assert.ok((await readFile(`${merged}/late`)).equals(LATE));
    });

    it('fails a copy-up whose content does not come, and leaves the file as it was', async () => {
      const writer = start('sh', ['-c', 'echo end >>"$0"', `${merged}/late`]);
      await mount.contents.until(() => mount.contents.wanted.length > 0);
      for (const digest of mount.contents.wanted) mount.contents.giveUp(digest);
      assert.notEqual((await writer.ended).code, 0);
      mount.contents.put(LATE);
      assert.ok((await readFile(`${merged}/late`)).equals(LATE));
    });

    it('deletes a file that is still on its way, without waiting', async () => {
      await unlink(`${merged}/late`);
      await assert.rejects(lstat(`${merged}/late`), { code: 'ENOENT' });
      assert.equal((await lstat(`${merged}/late-link`)).size, LATE.length);
      assert.deepEqual(mount.contents.wanted, []);
    });

    it('renames a file', async () => {
      await rename(`${merged}/d/here`, `${merged}/moved`);
      assert.deepEqual(await readdir(`${merged}/d`), ['sub']);
      assert.deepEqual(await readFile(`${merged}/moved`), HERE);
      assert.equal((await stat(`${merged}/moved`)).mode & 0o7777, 0o4755);
    });

    it('replaces a directory by a new one, which is opaque', async () => {
      await rm(`${merged}/d`, { recursive: true });
      await mkdir(`${merged}/d`);
      assert.deepEqual(await readdir(`${merged}/d`), []);
      assert.deepEqual((await readdir(`${mount.path}/d`)).sort(), ['here', 'sub']);
    });

    it('copies up, renames and deletes where no file of the image has extended attributes', async () => {
      const plain = await fixture.mount(sampleTree([directory('d'), file('d/one', HERE), file('two', HERE)]));
      plain.contents.put(HERE);
      const above = await fixture.overlay(plain.path);
      await writeFile(`${above}/d/one`, 'more\n', { flag: 'a' });
      await rename(`${above}/two`, `${above}/d/three`);
      assert.equal(await readFile(`${above}/d/one`, 'utf8'), 'here\nmore\n');
      assert.deepEqual((await readdir(`${above}/d`)).sort(), ['one', 'three']);
      await rm(`${above}/d`, { recursive: true });
      await mkdir(`${above}/d`);
      assert.deepEqual(await readdir(`${above}/d`), []);
      assert.deepEqual(await readdir(above), ['d']);
    });

    it('keeps hard links readable as one file', async () => {
      mount.contents.put(LATE);
      const [one, other] = await Promise.all([stat(`${merged}/late`), stat(`${merged}/late-link`)]);
      assert.equal(one.ino, other.ino);
      assert.ok((await readFile(`${merged}/late-link`)).equals(LATE));
    });
  });
}

async function describeAll(root: string): Promise<string[]> {
  const format = '%P %y %#m %U %G %T@ %l\n';
  const { stdout } = await run('find', [root, '-mindepth', '1', '-printf', format]);
  return stdout.toString().trimEnd().split('\n').sort();
}
