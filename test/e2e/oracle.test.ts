import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { layoutChainIds } from '../../scripts/lib/layout.ts';
import { awkwardImage } from '../support/awkward-image.ts';
import { makeLayout } from '../support/images.ts';
import { completeFormFault, machineFault } from '../support/machine.ts';
import { realImage } from '../support/real-image.ts';
import { skip } from '../support/skip.ts';
import { Stack } from '../support/stack.ts';
import { compareTrees, listTreeAside, type TreeListing, type TreeRow } from '../support/tree-listing.ts';

/**
 * The oracle: what a container sees of an image through StarlightFS is what it sees through containerd's own
 * overlayfs, in every object, for a real image and for one that holds every awkward thing.
 */

/** Of the root itself the time is that of the container's own upper directory: made just now. */
function withoutRootTime(listing: TreeListing, cutTime: (ns: bigint) => bigint): TreeListing {
  return new Map(
    [...listing].map(([path, row]): [string, TreeRow] => [
      path,
      { ...row, mtimeNs: path === '' ? 0n : cutTime(row.mtimeNs) },
    ]),
  );
}

const WAYS = [
  { name: 'StarlightFS (kernel)', driver: 'kernel', form: 'off', cutTime: (ns: bigint) => ns },
  { name: 'The complete form', driver: 'kernel', form: 'auto', cutTime: (ns: bigint) => ns },
  // Its C code takes times in milliseconds: worker/filesystem/README.md.
  {
    name: 'StarlightFS (fuse-native)',
    driver: 'fuse-native',
    form: 'off',
    cutTime: (ns: bigint) => (ns / 1_000_000n) * 1_000_000n,
  },
] as const;

for (const { name: way, driver, form, cutTime } of WAYS) {
  describe(`${way} against overlayfs`, function () {
    this.timeout(300_000);
    let directory = '';
    let stack: Stack;

    before(async function () {
      directory = mkdtempSync(join(tmpdir(), 'sl-oracle-'));
      const fault = form === 'auto' ? await completeFormFault(directory) : machineFault();
      if (fault !== undefined) skip(this, fault);
      stack = await Stack.start({ driver, daemonFlags: ['--filesystem-complete-form', form] });
    });
    after(async () => {
      await stack?.[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    });

    async function compare(layout: string, tag: string, name: string): Promise<number> {
      const plain = await stack.push(layout, tag, `plain/${name}`);
      await stack.containerd.ctr('images', 'pull', '--plain-http', '--snapshotter', 'overlayfs', plain);
      const converted = await stack.convert(layout, tag, `converted/${name}`);
      await stack.mustCli('pull', ...(form === 'auto' ? ['--wait'] : []), '-n', 'test', converted);
      const chain = await layoutChainIds(layout, tag);
      let objects = 0;
      // Every layer has a snapshot of its own, and other images may stand on any of them.
      for (const chainId of chain) {
        const expected = await stack.withRoot('overlayfs', chainId, (root) => listTreeAside(root));
        if (form === 'auto') await makeComplete(chainId);
        const actual = await stack.withRoot('starlight', chainId, (root) => listTreeAside(root));
        const differences = compareTrees(
          withoutRootTime(expected, cutTime),
          withoutRootTime(actual, cutTime),
        );
        assert.deepEqual(differences, [], `${name}, layers up to ${chainId}`);
        objects += expected.size;
      }
      return objects;
    }

    async function makeComplete(chainId: ChainId): Promise<void> {
      // what upper layers hide has not come by itself; it does when it is read
      await stack.withRoot('starlight', chainId, (root) => listTreeAside(root));
      await stack.whenComplete(chainId);
    }

    it('an image with every awkward thing', async () => {
      const layout = join(directory, 'awkward');
      makeLayout(layout, [awkwardImage('v1')]);
      assert.ok((await compare(layout, 'v1', 'awkward:v1')) > 15_000);
    });

    it('a real image', async () => {
      const { layout, tag } = await realImage();
      assert.ok((await compare(layout, tag, 'real:v1')) > 3000);
    });

    it('the images are pullable as ordinary ones too, and are the same', async () => {
      const layout = join(directory, 'awkward');
      const reference = `${stack.registry}/converted/awkward:v1`;
      await stack.containerd.ctr('images', 'pull', '--plain-http', '--snapshotter', 'overlayfs', reference);
      const top = (await layoutChainIds(layout, 'v1')).at(-1);
      assert.ok(top !== undefined);
      const snapshots = await stack.containerd.ctr('snapshots', '--snapshotter', 'overlayfs', 'ls');
      assert.ok(snapshots.includes(top), 'the converted image has the chainID of the original');
    });
  });
}
