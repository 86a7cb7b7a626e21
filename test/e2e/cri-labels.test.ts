import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failsWith, SnapshotterClient } from '../../conformance/snapshotter/client.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { layoutChainIds } from '../../scripts/lib/layout.ts';
import { CRI_LABEL } from '../../worker/images/label-pulls.ts';
import { awkwardImage } from '../support/awkward-image.ts';
import { makeLayout } from '../support/images.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { Stack } from '../support/stack.ts';

/** A kubelet's pull, as containerd's CRI makes it: the labels of each layer's Prepare say which image it is of. */
describe('pulls announced by labels', function () {
  this.timeout(120_000);
  let directory = '';
  let chain: readonly ChainId[];
  let stack: Stack;

  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    directory = mkdtempSync(join(tmpdir(), 'sl-cri-'));
    makeLayout(directory, [awkwardImage('v1')]);
    chain = await layoutChainIds(directory, 'v1');
    stack = await Stack.start();
  });
  after(async () => {
    await stack?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const manifestDigest = async (reference: string): Promise<string> => {
    const [host, ...path] = reference.split('/');
    const [name, tag] = path.join('/').split(':');
    const accept = 'application/vnd.oci.image.manifest.v1+json';
    const response = await fetch(`http://${host}/v2/${name}/manifests/${tag}`, { headers: { accept } });
    return response.headers.get('docker-content-digest') ?? '';
  };
  const labelsOf = async (reference: string, ref: string) => ({
    [CRI_LABEL.imageRef]: reference,
    [CRI_LABEL.manifestDigest]: await manifestDigest(reference),
    'containerd.io/snapshot.ref': ref,
    'containerd.io/gc.root': '2026-01-01T00:00:00Z',
  });

  it('an image that is not converted is left to containerd', async () => {
    const reference = await stack.push(directory, 'v1', 'plain/awkward:v1');
    const client = new SnapshotterClient({
      socketPath: stack.snapshotterSocket,
      snapshotter: '',
      namespace: 'test',
    });
    const [first] = chain;
    assert.ok(first !== undefined);
    const mounts = await client.prepare('plain', '', await labelsOf(reference, first));
    assert.equal(mounts.length, 1, 'a place to unpack the layer');
    await client.remove('plain');
    client.close();
  });

  it('a converted image is claimed layer by layer, and mounted while its contents arrive', async () => {
    const reference = await stack.convert(directory, 'v1', 'converted/awkward:v1');
    const socketPath = join(stack.directory, 'c/containerd.sock');
    const client = new SnapshotterClient({ socketPath, snapshotter: 'starlight', namespace: 'test' });
    let parent = '';
    for (const [row, chainId] of chain.entries()) {
      const labels = await labelsOf(reference, chainId);
      await assert.rejects(client.prepare(`layer-${row}`, parent, labels), failsWith('ALREADY_EXISTS'));
      assert.equal((await client.stat(chainId)).kind, 'COMMITTED');
      parent = chainId;
    }
    client.close();
    const back = await stack.withRoot('starlight', parent as ChainId, (root) =>
      readFile(join(root, 'gone/back'), 'utf8'),
    );
    assert.equal(back, 'came back');
  });
});
