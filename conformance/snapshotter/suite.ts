import { Bench } from './bench.ts';
import type { SnapshotterClient } from './client.ts';
import * as layers from './layer-cases.ts';
import * as lifecycle from './lifecycle-cases.ts';
import * as metadata from './metadata-cases.ts';

export type SnapshotterTraits = {
  /** Whether a directory of a lower layer can be renamed; overlayfs cannot. */
  readonly renamesLowerDirectories: boolean;
};

/** The longest case makes and mounts 128 layers. */
const CASE_TIMEOUT_MS = 180_000;

/**
 * The contract of containerd's snapshotters: the 21 cases of its `snapshots/testsuite`, under their names,
 * against a running snapshotter. Needs root, because it mounts what it is given. `connect` gives a new client
 * each time.
 */
export function snapshotterSuite(
  name: string,
  connect: () => Promise<SnapshotterClient>,
  traits: SnapshotterTraits,
): void {
  const cases: readonly (readonly [string, (bench: Bench) => Promise<void>])[] = [
    ['Basic', lifecycle.basic],
    ['StatActive', lifecycle.statActive],
    ['StatComitted', lifecycle.statCommitted],
    ['TransitivityTest', lifecycle.transitivity],
    ['PreareViewFailingtest', lifecycle.prepareViewFailing],
    ['Update', metadata.update],
    ['Remove', lifecycle.removal],
    ['Walk', metadata.walk],
    ['LayerFileupdate', layers.layerFileUpdate],
    ['RemoveDirectoryInLowerLayer', layers.removeDirectoryInLowerLayer],
    ['Chown', layers.changeOwner],
    ['DirectoryPermissionOnCommit', layers.directoryPermissionOnCommit],
    ['RemoveIntermediateSnapshot', lifecycle.removeIntermediate],
    ['DeletedFilesInChildSnapshot', layers.deletedFilesInChild],
    ['MoveFileFromLowerLayer', layers.moveFileFromLowerLayer],
    ['ViewReadonly', lifecycle.viewReadonly],
    ['StatInWalk', metadata.statInWalk],
    ['CloseTwice', (bench) => lifecycle.closeTwice(bench, connect)],
    ['RootPermission', lifecycle.rootPermission],
    ['Rename', (bench) => layers.renames(bench, traits.renamesLowerDirectories)],
    ['128LayersMount', layers.layers128Mount],
  ];

  describe(`snapshotter ${name}`, function () {
    this.timeout(CASE_TIMEOUT_MS);
    let client: SnapshotterClient;
    let bench: Bench;

    before(async () => {
      client = await connect();
    });
    after(() => client?.close());
    beforeEach(async () => {
      bench = await Bench.open(client);
    });
    afterEach(() => bench.close());

    for (const [title, run] of cases) it(title, () => run(bench));
  });
}
