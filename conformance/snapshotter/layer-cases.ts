import type { Bench } from './bench.ts';
import { apply, type Change, chown, directory, file, link, remove, rename } from './change.ts';
import { assertSameTree } from './tree.ts';

/** Rounds of the case below; a change within the clock tick of the original once went unnoticed. */
const UPDATE_ROUNDS = 5;

/** https://github.com/docker/docker/issues/21555 */
export async function layerFileUpdate(bench: Bench): Promise<void> {
  for (let round = 0; round < UPDATE_ROUNDS; round++) {
    await bench.checkLayers(`round-${round}`, [
      [
        directory('etc', 0o700),
        file('etc/hosts', 'mydomain 10.0.0.1', 0o644),
        file('etc/profile', 'PATH=/usr/bin', 0o644),
      ],
      [
        file('etc/hosts', 'mydomain 10.0.0.2', 0o644),
        file('etc/profile', 'PATH=/usr/bin', 0o666),
        directory('root', 0o700),
        file('root/.bashrc', 'PATH=/usr/sbin:/usr/bin', 0o644),
      ],
    ]);
  }
}

/** A directory removed and made again hides what it held. https://github.com/docker/docker/issues/25244 */
export async function removeDirectoryInLowerLayer(bench: Bench): Promise<void> {
  await bench.checkLayers('lib', [
    [directory('lib', 0o700), file('lib/hidden', '', 0o644)],
    [remove('lib'), directory('lib', 0o700), file('lib/not-hidden', '', 0o644)],
    [file('lib/newfile', '', 0o644)],
  ]);
}

/** https://github.com/docker/docker/issues/20240, 24913, 28391 */
export async function changeOwner(bench: Bench): Promise<void> {
  await bench.checkLayers('chown', [
    [
      directory('opt', 0o700),
      directory('opt/a', 0o700),
      directory('opt/a/b', 0o700),
      file('opt/a/b/file.txt', 'hello', 0o644),
    ],
    [chown('opt', 1, 1), chown('opt/a', 1, 1), chown('opt/a/b', 1, 1), chown('opt/a/b/file.txt', 1, 1)],
  ]);
}

/** https://github.com/docker/docker/issues/27298 */
export async function directoryPermissionOnCommit(bench: Bench): Promise<void> {
  await bench.checkLayers('permission', [
    [
      directory('dir1', 0o700),
      directory('dir2', 0o700),
      directory('dir3', 0o700),
      directory('dir4', 0o700),
      file('dir4/f1', '...', 0o644),
      directory('dir5', 0o700),
      file('dir5/f1', '...', 0o644),
      chown('dir1', 1, 1),
      chown('dir2', 1, 1),
      chown('dir3', 1, 1),
      chown('dir5', 1, 1),
      chown('dir5/f1', 1, 1),
    ],
    [chown('dir2', 0, 0), remove('dir3'), chown('dir4', 1, 1), chown('dir4/f1', 1, 1)],
    [
      directory('dir3', 0o700),
      chown('dir3', 1, 1),
      remove('dir5'),
      directory('dir5', 0o700),
      chown('dir5', 1, 1),
    ],
  ]);
}

export async function deletedFilesInChild(bench: Bench): Promise<void> {
  await bench.checkLayers('deleted', [
    [file('foo', 'foo\n', 0o777), file('foobar', 'foobar\n', 0o777)],
    [remove('foobar')],
    [],
  ]);
}

export async function moveFileFromLowerLayer(bench: Bench): Promise<void> {
  await bench.checkLayers('move', [
    [
      directory('dir1', 0o700),
      file('dir1/f1', 'Hello', 0o644),
      directory('dir2', 0o700),
      file('dir2/f2', '...', 0o644),
    ],
    [
      directory('dir3', 0o700),
      file('dir3/f1', 'Hello', 0o644),
      remove('dir1'),
      link('dir2/f2', 'dir3/f2'),
      remove('dir2/f2'),
    ],
  ]);
}

/** https://github.com/docker/docker/issues/25409; overlayfs cannot rename a lower directory without redirects. */
export async function renames(bench: Bench, renamesLowerDirectories: boolean): Promise<void> {
  const directoryRename: readonly Change[] = renamesLowerDirectories ? [rename('dir1', 'dir2')] : [];
  await bench.checkLayers('rename', [
    [
      directory('dir1', 0o700),
      directory('somefiles', 0o700),
      file('somefiles/f1', 'was here first!', 0o644),
      file('somefiles/f2', 'nothing interesting', 0o644),
    ],
    [
      ...directoryRename,
      file('somefiles/f1-overwrite', 'new content 1', 0o644),
      rename('somefiles/f1-overwrite', 'somefiles/f1'),
      rename('somefiles/f2', 'somefiles/f3'),
    ],
  ]);
}

const LAYERS = 128;

/** As many layers as images have at most: each prepared over all before it, and a view of all. */
export async function layers128Mount(bench: Bench): Promise<void> {
  const flat = await bench.flat('flat');
  let parent = '';
  for (let index = 0; index < LAYERS; index++) {
    const changes = index === 0 ? LOWEST : layerOf(index);
    const active = bench.key(`prepare-${index}`);
    await bench.mounted(await bench.prepare(active, parent), async (root) => {
      await assertSameTree(flat, root, `layer ${index} before the changes`);
      await apply(flat, changes);
      await apply(root, changes);
      await assertSameTree(flat, root, `layer ${index} after the changes`);
    });
    parent = bench.key(`committed-${index}`);
    await bench.commit(parent, active);
  }
  const mounts = await bench.view(bench.key('fullview'), parent);
  await bench.mounted(mounts, (root) => assertSameTree(flat, root, 'the view of all layers'));
}

const LOWEST: readonly Change[] = [
  file('bottom', 'way at the bottom\n', 0o777),
  file('overwriteme', 'FIRST!\n', 0o777),
  directory('addhere', 0o755),
  directory('onlyme', 0o755),
  file('onlyme/bottom', 'bye!\n', 0o777),
];

function layerOf(index: number): readonly Change[] {
  return [
    file('overwriteme', `${index} WAS HERE!\n`, 0o777),
    file(`addhere/file-${index}`, 'same\n', 0o755),
    remove('onlyme'),
    directory('onlyme', 0o755),
    file(`onlyme/file-${index}`, 'only me!\n', 0o777),
  ];
}
