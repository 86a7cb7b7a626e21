import assert from 'node:assert/strict';
import { chownSync, existsSync, linkSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createSnapshotter } from '../../../worker/snapshotter/create-snapshotter.ts';
import type { SnapshotterErrorKind } from '../../../worker/snapshotter/snapshotter-error.ts';
import { skip } from '../../support/skip.ts';
import { keyOf, NEVER, SnapshotterHome } from '../../support/snapshotter-home.ts';

describe('Snapshotter', () => {
  let home: SnapshotterHome;

  beforeEach(async () => {
    home = await SnapshotterHome.open();
  });
  afterEach(async () => {
    await home.close();
    home.log.assertQuiet();
  });

  /** The directory of an active snapshot without parents. */
  async function active(key: string): Promise<string> {
    const [mount] = await home.prepare(key);
    return mount?.source ?? '';
  }

  function directories(): string[] {
    return readdirSync(join(home.root, 'snapshots')).sort();
  }

  type Refusal = readonly [title: string, kind: SnapshotterErrorKind, run: () => Promise<unknown>];
  const REFUSALS: readonly Refusal[] = [
    ['Prepare over nothing', 'not-found', () => home.prepare('x', 'nowhere')],
    ['View over nothing', 'not-found', () => home.view('x', 'nowhere')],
    ['Prepare over an active one', 'invalid-argument', () => home.prepare('x', 'a')],
    ['View over a view', 'invalid-argument', () => home.view('x', 'v')],
    ['Prepare under a used key', 'already-exists', () => home.prepare('a')],
    ['Prepare under a committed name', 'already-exists', () => home.prepare('c')],
    ['View under a used key', 'already-exists', () => home.view('v')],
    ['Commit of nothing', 'not-found', () => home.commit('x', 'nowhere')],
    ['Commit of a view', 'failed-precondition', () => home.commit('x', 'v')],
    ['Commit of a committed one', 'failed-precondition', () => home.commit('x', 'c')],
    ['Commit to a used name', 'already-exists', () => home.commit('c', 'a')],
    ['Commit to its own key', 'already-exists', () => home.commit('a', 'a')],
    ['Commit with another parent', 'invalid-argument', () => home.commit('x', 'on-c', {}, 'c2')],
    ['Commit over an active parent', 'invalid-argument', () => home.commit('x', 'a', {}, 'on-c')],
    ['Commit over a parent that is not', 'not-found', () => home.commit('x', 'a', {}, 'nowhere')],
    ['Mounts of nothing', 'not-found', () => home.mounts('nowhere')],
    ['Mounts of a committed one', 'failed-precondition', () => home.mounts('c')],
    ['Remove of nothing', 'not-found', () => home.remove('nowhere')],
    ['Remove of a parent', 'failed-precondition', () => home.remove('c')],
    ['Stat of nothing', 'not-found', async () => home.snapshotter.stat(keyOf('nowhere'))],
    ['Update of nothing', 'not-found', async () => home.snapshotter.update(keyOf('nowhere'), {}, [])],
    ['Update of the name', 'invalid-argument', async () => home.snapshotter.update(keyOf('c'), {}, ['name'])],
    ['Usage of nothing', 'not-found', () => home.snapshotter.usage(keyOf('nowhere'), NEVER)],
    ['List by a bad filter', 'invalid-argument', async () => home.snapshotter.list(['name=='])],
  ];
  for (const [title, kind, run] of REFUSALS) {
    it(`refuses ${title} and changes nothing`, async () => {
      await home.layer('c');
      await home.layer('c2');
      await home.prepare('a');
      await home.prepare('on-c', 'c');
      await home.view('v', 'c');
      const before = [...home.snapshotter.list([])];
      const onDisk = directories();
      await assert.rejects(run(), { kind });
      assert.deepEqual([...home.snapshotter.list([])], before);
      assert.deepEqual(directories(), onDisk);
    });
  }

  it('keeps everything over a restart', async () => {
    const path = await active('a');
    writeFileSync(join(path, 'file'), 'x');
    await home.commit('c', 'a', { l: '1' });
    home.nowNs = 2_000_000_123n;
    await home.prepare('b', 'c', { m: '2' });
    home.nowNs = 3_000_000_456n;
    home.snapshotter.update(keyOf('c'), { l: '2' }, ['labels.l']);
    const before = [...home.snapshotter.list([])];
    const mounts = await home.mounts('b');
    const usage = await home.snapshotter.usage(keyOf('c'), NEVER);
    await home.restart();
    assert.deepEqual([...home.snapshotter.list([])], before);
    assert.deepEqual(await home.mounts('b'), mounts);
    assert.deepEqual(await home.snapshotter.usage(keyOf('c'), NEVER), usage);
    const c = home.snapshotter.stat(keyOf('c'));
    assert.deepEqual([c.createdNs, c.updatedNs, c.labels], [1_000_000_000n, 3_000_000_456n, { l: '2' }]);
  });

  it('never gives an id twice, so that no directory comes back', async () => {
    const first = await active('a');
    await home.remove('a');
    await home.restart();
    assert.notEqual(await active('a'), first);
  });

  it('counts an active snapshot as it grows, and links once', async () => {
    const path = await active('a');
    writeFileSync(join(path, 'file'), 'x'.repeat(100_000));
    linkSync(join(path, 'file'), join(path, 'link'));
    const usage = await home.snapshotter.usage(keyOf('a'), NEVER);
    assert.equal(usage.inodes, 2);
    assert.ok(usage.sizeBytes >= 100_000 && usage.sizeBytes < 200_000, `${usage.sizeBytes} bytes`);
    await home.commit('c', 'a');
    assert.deepEqual(await home.snapshotter.usage(keyOf('c'), NEVER), usage);
  });

  it('gives the root of a snapshot the owner of its parent’s root', async function () {
    if (process.getuid?.() !== 0) skip(this, 'needs root to change owners');
    chownSync(await active('a'), 1234, 4321);
    await home.commit('c', 'a');
    await home.prepare('b', 'c');
    const { id } = home.snapshotter.stat(keyOf('b'));
    const { uid, gid, mode } = statSync(join(home.root, 'snapshots', String(id), 'fs'));
    assert.deepEqual([uid, gid, mode & 0o777], [1234, 4321, 0o755]);
  });

  it('takes a parent on commit where there was none', async () => {
    await home.layer('c');
    await home.prepare('a');
    await home.commit('x', 'a', {}, 'c');
    assert.equal(home.snapshotter.stat(keyOf('x')).parent, 'c');
    await assert.rejects(home.remove('c'), { kind: 'failed-precondition' });
  });

  it('does one thing after the other for one key', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => home.prepare('a')));
    assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 1);
    await home.snapshotter.drained();
    assert.equal(directories().length, 1);
    const steps = await Promise.allSettled([home.commit('c', 'a'), home.prepare('b', 'c'), home.remove('b')]);
    // 'b' does not wait for 'c', so it may come too early; its removal comes after it
    assert.equal(steps[0].status, 'fulfilled');
    assert.equal(steps[2].status, steps[1].status);
  });

  it('commits nothing for a caller that went away', async () => {
    await home.prepare('a');
    const request = { key: keyOf('a'), name: keyOf('c'), parent: undefined, labels: {} };
    await assert.rejects(home.snapshotter.commit(request, AbortSignal.abort()), { name: 'AbortError' });
    assert.equal(home.snapshotter.stat(keyOf('a')).kind, 'active');
  });

  it('lists more than one page, in the order of making', async () => {
    const keys = Array.from({ length: 250 }, (_, index) => `k${index}`);
    for (const key of keys) await home.view(key);
    assert.deepEqual(
      [...home.snapshotter.list([])].map((info) => info.key),
      keys,
    );
  });

  it('survives changes while it lists', async () => {
    for (let index = 0; index < 150; index++) await home.view(`k${index}`);
    let seen = 0;
    for (const info of home.snapshotter.list([])) {
      seen += 1;
      await home.remove(info.key);
    }
    assert.equal(seen, 150);
    assert.deepEqual([...home.snapshotter.list([])], []);
  });

  it('discards at start and by Cleanup what belongs to no snapshot, and nothing else', async () => {
    const kept = await active('a');
    const snapshots = join(home.root, 'snapshots');
    const litter = ['new-dead', '99', '7x', '01', 'lost+found'];
    const scatter = (): void => {
      for (const name of litter) mkdirSync(join(snapshots, name, 'fs'), { recursive: true });
    };
    scatter();
    await home.restart();
    assert.deepEqual(directories(), ['1']);
    scatter();
    await home.snapshotter.cleanup();
    await home.snapshotter.drained();
    assert.deepEqual(directories(), ['1']);
    assert.deepEqual(readdirSync(join(home.root, 'trash')), []);
    assert.ok(existsSync(kept));
  });

  it('discards nothing that is being made while Cleanup runs', async () => {
    const making: Promise<unknown>[] = [];
    for (let index = 0; index < 40; index++) {
      making.push(home.prepare(`k${index}`), home.snapshotter.cleanup());
    }
    await Promise.all(making);
    for (const info of home.snapshotter.list([])) {
      assert.ok(existsSync(join(home.root, 'snapshots', String(info.id), 'fs')), info.key);
    }
    assert.equal(directories().length, 40);
  });

  it('deletes a removed snapshot in the background', async () => {
    const path = await active('a');
    writeFileSync(join(path, 'file'), 'x');
    await home.remove('a');
    assert.equal(existsSync(path), false);
    await home.snapshotter.drained();
    assert.deepEqual(readdirSync(join(home.root, 'trash')), []);
  });

  it('may be closed twice', async () => {
    await home.snapshotter.close();
    await home.snapshotter.close();
  });

  it('is refused to a second opener', async () => {
    const { root, images, log } = home;
    await assert.rejects(createSnapshotter({ root, remoteImages: images, log }), /in use by another process/);
  });

  for (const root of ['relative/path', '/tmp/a,b', '/tmp/a:b', '/tmp/a b', '/tmp/a\\b']) {
    it(`refuses the root ${root}`, async () => {
      const { images, log } = home;
      await assert.rejects(createSnapshotter({ root, remoteImages: images, log }), /snapshotter root/);
      assert.equal(existsSync(root), false);
    });
  }
});
