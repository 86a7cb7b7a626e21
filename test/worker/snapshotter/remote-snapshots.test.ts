import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ChainId } from '../../../schemas/oci/chain-id.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { type Labels, type Mount, SNAPSHOT_REF_LABEL } from '../../../worker/snapshotter/snapshot.ts';
import { keyOf, NEVER, SnapshotterHome } from '../../support/snapshotter-home.ts';

// any digests will do as chainIDs
const FIRST = digestOf('first') as ChainId;
const SECOND = digestOf('second') as ChainId;
const THIRD = digestOf('third') as ChainId;

const CRI_LABEL = 'containerd.io/snapshot/cri.image-ref';

function refTo(target: string): Labels {
  return { [SNAPSHOT_REF_LABEL]: target, [CRI_LABEL]: 'registry/image:v1' };
}

describe('remote snapshots', () => {
  let home: SnapshotterHome;

  beforeEach(async () => {
    home = await SnapshotterHome.open();
    for (const [index, chainId] of [FIRST, SECOND].entries()) {
      const tree = join(home.directory, `tree-${index}`);
      await mkdir(tree);
      home.images.trees.set(chainId, [tree]);
    }
  });
  afterEach(() => home.close());

  function tree(index: number): string {
    return join(home.directory, `tree-${index}`);
  }

  /** Both layers of the image, as containerd asks for them. */
  async function claimBoth(): Promise<void> {
    await assert.rejects(home.prepare('ns/1/extract-1', undefined, refTo(FIRST)), {
      kind: 'already-exists',
    });
    await assert.rejects(home.prepare('ns/2/extract-2', FIRST, refTo(SECOND)), {
      kind: 'already-exists',
    });
  }

  it('are committed under the chainID, found by label and parent, and need no directory', async () => {
    await claimBoth();
    const filter = `labels."${SNAPSHOT_REF_LABEL}"==${SECOND},parent=="${FIRST}"`;
    const found = [...home.snapshotter.list([filter])];
    assert.deepEqual(
      found.map(({ key, kind, parent, labels, source }) => ({ key, kind, parent, labels, source })),
      [
        {
          key: SECOND,
          kind: 'committed',
          parent: FIRST,
          labels: refTo(SECOND),
          source: { kind: 'remote', chainId: SECOND },
        },
      ],
    );
    assert.throws(() => home.snapshotter.stat(keyOf('ns/2/extract-2')), { kind: 'not-found' });
    assert.equal(home.images.references.size, 0);
  });

  it('are asked for with the labels of Prepare, each time', async () => {
    await claimBoth();
    await assert.rejects(home.prepare('other/1/extract', undefined, refTo(FIRST)), {
      kind: 'already-exists',
    });
    assert.deepEqual(
      home.images.asked.map(({ chainId }) => chainId),
      [FIRST, SECOND, FIRST],
    );
    assert.equal(home.images.asked[0]?.labels[CRI_LABEL], 'registry/image:v1');
  });

  it('are one although two callers ask at the same time', async () => {
    const outcomes = await Promise.allSettled([
      home.prepare('a', undefined, refTo(FIRST)),
      home.prepare('b', undefined, refTo(FIRST)),
    ]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.kind),
      ['already-exists', 'already-exists'],
    );
    assert.equal([...home.snapshotter.list([])].length, 1);
  });

  it('have another name where the parent is another', async () => {
    await home.layer('ns/1/lower');
    await home.layer('ns/2/lower');
    for (const parent of ['ns/1/lower', 'ns/2/lower']) {
      await assert.rejects(home.prepare(`over ${parent}`, parent, refTo(SECOND)), { kind: 'already-exists' });
    }
    const infos = [...home.snapshotter.list([`labels."${SNAPSHOT_REF_LABEL}"==${SECOND}`])];
    assert.deepEqual(
      infos.map((info) => info.parent),
      ['ns/1/lower', 'ns/2/lower'],
    );
    assert.equal(new Set(infos.map((info) => info.key)).size, 2);
    // the contents are needed until the last of them goes
    await home.remove(infos[0]?.key ?? '');
    assert.deepEqual(home.images.releasedChains, []);
    await home.remove(infos[1]?.key ?? '');
    await home.snapshotter.drained();
    assert.deepEqual(home.images.releasedChains, [SECOND]);
  });

  it('give way to unpacking when the image is gone', async () => {
    await assert.rejects(home.prepare('one', undefined, refTo(FIRST)), { kind: 'already-exists' });
    home.images.trees.delete(FIRST);
    const [mount] = await home.prepare('two', undefined, refTo(FIRST));
    assert.equal(mount?.type, 'bind');
    await home.commit('ns/2/unpacked', 'two', refTo(FIRST));
    assert.equal(home.snapshotter.stat(keyOf('ns/2/unpacked')).source.kind, 'local');
  });

  const ORDINARY: readonly (readonly [string, Labels])[] = [
    ['a chainID that is not at hand', refTo(THIRD)],
    ['no label', { [CRI_LABEL]: 'registry/image:v1' }],
    ['a label that is no digest', refTo('latest')],
    ['an empty label', refTo('')],
  ];
  for (const [title, labels] of ORDINARY) {
    it(`are not made for ${title}`, async () => {
      const [mount] = await home.prepare('key', undefined, labels);
      assert.equal(mount?.type, 'bind');
      assert.equal(home.snapshotter.stat(keyOf('key')).source.kind, 'local');
    });
  }

  it('are not made over a parent that does not exist', async () => {
    await assert.rejects(home.prepare('key', 'nowhere', refTo(FIRST)), { kind: 'not-found' });
    assert.deepEqual([...home.snapshotter.list([])], []);
  });

  it('are the lowest directory of what stands on them, in place of their whole chain', async () => {
    await claimBoth();
    const [overlay] = await home.prepare('container', SECOND);
    assert.ok(overlay?.options.includes(`lowerdir=${tree(1)}`));
    await home.commit('built', 'container');
    await home.layer('built-2', 'built');
    const [view] = await home.view('look', 'built-2');
    const lowers = view?.options
      .find((option) => option.startsWith('lowerdir='))
      ?.slice(9)
      .split(':');
    const { snapshotter } = home;
    const own = ['built-2', 'built'].map((key) =>
      join(home.root, 'snapshots', `${snapshotter.stat(keyOf(key)).id}`, 'fs'),
    );
    assert.deepEqual(lowers, [...own, tree(1)]);
  });

  it('are viewed by a read-only bind', async () => {
    await claimBoth();
    assert.deepEqual(await home.view('look', SECOND), [
      { type: 'bind', source: tree(1), options: ['ro', 'rbind'] },
    ]);
  });

  it('are viewed by an overlay where the tree is in two directories', async () => {
    await claimBoth();
    home.images.trees.set(SECOND, ['/small', tree(1)]);
    const made = home.view('look', SECOND);
    // the parent's owner is read from its nearest directory
    await assert.rejects(made, { code: 'ENOENT' });
    home.images.trees.set(SECOND, [tree(0), tree(1)]);
    const [view] = await home.view('look', SECOND);
    assert.equal(view?.type, 'overlay');
    assert.ok(view?.options.includes(`lowerdir=${tree(0)}:${tree(1)}`));
  });

  it('are seen in the form in which the snapshot was made, for all its life', async () => {
    await claimBoth();
    await home.prepare('early', SECOND);
    home.images.form = 'complete';
    home.images.dataLowers = ['/store'];
    await home.prepare('late', SECOND);
    await home.view('look', SECOND);
    await home.restart();
    const lowerOf = async (key: string): Promise<string | undefined> =>
      (await home.mounts(key))[0]?.options.find((option) => option.startsWith('lowerdir='));
    assert.equal(await lowerOf('early'), `lowerdir=${tree(1)}`);
    assert.equal(await lowerOf('late'), `lowerdir=${tree(1)}::/store`);
    assert.equal(await lowerOf('look'), `lowerdir=${tree(1)}::/store`);
    home.images.forms.length = 0;
    await home.snapshotter.ensureMounts(NEVER);
    assert.deepEqual(home.images.forms.sort(), ['complete', 'complete', 'served']);
  });

  it('with metadata without contents above them need the option, in all that stands on that', async () => {
    await claimBoth();
    home.images.form = 'complete-metacopy';
    home.images.dataLowers = ['/store'];
    const hasOption = (mounts: readonly Mount[]): boolean =>
      mounts[0]?.options.includes('metacopy=on') === true;
    assert.ok(hasOption(await home.prepare('work', SECOND)));
    await home.commit('child', 'work');
    home.images.form = 'served';
    assert.ok(hasOption(await home.prepare('over', 'child')));
    assert.ok(hasOption(await home.view('look', 'child')));
    assert.ok(!hasOption(await home.prepare('beside', SECOND)));
  });

  it('are served below so many layers that containerd could not shorten the options', async () => {
    await claimBoth();
    home.images.form = 'complete';
    home.images.dataLowers = ['/store'];
    const asked = async (parent: string): Promise<string | undefined> => {
      home.images.forms.length = 0;
      const key = `over ${parent}`;
      await home.prepare(key, parent);
      await home.remove(key);
      return home.images.forms[0];
    };
    let parent: string = SECOND;
    const fits = Math.floor(3000 / `${home.root}/snapshots/100/fs:`.length);
    for (let layer = 0; layer < fits + 10; layer += 1) {
      await home.layer(`layer-${layer}`, parent);
      parent = `layer-${layer}`;
      if (layer === fits - 10) assert.equal(await asked(parent), undefined);
    }
    assert.equal(await asked(parent), 'served');
  });

  it('are held by each snapshot that is mounted, and let go by commit and remove', async () => {
    await claimBoth();
    await home.prepare('one', SECOND);
    await home.view('two', SECOND);
    await home.prepare('three', FIRST);
    await home.mounts('one');
    const held = (): string[] => [...home.images.references].sort();
    assert.deepEqual(held(), [`${SECOND} one`, `${SECOND} two`, `${FIRST} three`].sort());
    await home.commit('committed', 'one');
    assert.deepEqual(held(), [`${SECOND} two`, `${FIRST} three`].sort());
    await home.prepare('four', 'committed');
    await home.remove('two');
    await home.remove('three');
    assert.deepEqual(held(), [`${SECOND} four`]);
    await home.remove('four');
    assert.deepEqual(held(), []);
  });

  it('leave no reference and no record when a mount fails', async () => {
    await claimBoth();
    home.images.mountFailure = new Error('no file system');
    await assert.rejects(home.prepare('one', SECOND), /no file system/);
    home.images.mountFailure = undefined;
    assert.throws(() => home.snapshotter.stat(keyOf('one')), { kind: 'not-found' });
    await home.prepare('one', SECOND);
    await assert.rejects(home.prepare('one', SECOND), { kind: 'already-exists' });
    await assert.rejects(home.view('one', SECOND), { kind: 'already-exists' });
    assert.deepEqual([...home.images.references], [`${SECOND} one`]);
  });

  it('stop a caller that went away, with nothing left', async () => {
    await claimBoth();
    const request = { key: keyOf('one'), parent: keyOf(SECOND), labels: {} };
    await assert.rejects(home.snapshotter.prepare(request, AbortSignal.abort()), { name: 'AbortError' });
    assert.equal(home.images.references.size, 0);
    assert.throws(() => home.snapshotter.stat(keyOf('one')), { kind: 'not-found' });
  });

  it('are mounted again after a restart, for the snapshots that need them', async () => {
    await claimBoth();
    await home.prepare('one', SECOND);
    await home.prepare('between-active', FIRST);
    await home.commit('between', 'between-active');
    await home.view('two', 'between');
    await home.prepare('ordinary');
    home.images.references.clear();
    await home.restart();
    assert.deepEqual(await home.snapshotter.ensureMounts(NEVER), { mounted: 2, failed: [] });
    assert.deepEqual([...home.images.references].sort(), [`${FIRST} two`, `${SECOND} one`].sort());
  });

  it('do not keep the daemon from starting when one cannot be mounted', async () => {
    await claimBoth();
    await home.prepare('one', SECOND);
    await home.prepare('two', FIRST);
    await home.restart();
    home.images.trees.delete(SECOND);
    const { mounted, failed } = await home.snapshotter.ensureMounts(NEVER);
    assert.deepEqual({ mounted, failed }, { mounted: 1, failed: ['one'] });
    assert.match(home.log.lines.join('\n'), /cannot mount the image/);
    await assert.rejects(home.mounts('one'), /no tree/);
  });

  it('cost what the image says, and what stands on them what was written', async () => {
    await claimBoth();
    assert.deepEqual(await home.snapshotter.usage(keyOf(SECOND), NEVER), { sizeBytes: 1001, inodes: 7 });
    await home.prepare('one', SECOND);
    assert.equal((await home.snapshotter.usage(keyOf('one'), NEVER)).inodes, 1);
  });

  it('are not removed under a child, and are released when they are', async () => {
    await claimBoth();
    await assert.rejects(home.remove(FIRST), { kind: 'failed-precondition' });
    await home.remove(SECOND);
    await home.remove(FIRST);
    await home.snapshotter.drained();
    assert.deepEqual(home.images.releasedChains, [SECOND, FIRST]);
  });

  it('are removed at once, however long releasing their image takes', async () => {
    await claimBoth();
    const released = Promise.withResolvers<void>();
    home.images.releasing = released.promise;
    await home.remove(SECOND);
    await home.remove(FIRST);
    assert.deepEqual([...home.snapshotter.list([])], []);
    assert.deepEqual(home.images.releasedChains, []);
    released.resolve();
    await home.snapshotter.drained();
    assert.deepEqual(home.images.releasedChains, [SECOND, FIRST]);
  });

  it('cannot be committed, and have no mounts of their own', async () => {
    await claimBoth();
    await assert.rejects(home.commit('again', FIRST), { kind: 'failed-precondition' });
    await assert.rejects(home.mounts(FIRST), { kind: 'failed-precondition' });
  });
});
