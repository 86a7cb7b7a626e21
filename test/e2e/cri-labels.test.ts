import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { failsWith, SnapshotterClient } from '../../conformance/snapshotter/client.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { parseManifest } from '../../schemas/oci/types.ts';
import { run } from '../../scripts/lib/child.ts';
import { GoToolError } from '../../scripts/lib/go-tool.ts';
import { layoutChainIds } from '../../scripts/lib/layout.ts';
import { CRI_LABEL } from '../../worker/images/label-pulls.ts';
import { awkwardImage } from '../support/awkward-image.ts';
import { Crictl, writeHosts } from '../support/crictl.ts';
import { makeLayout } from '../support/images.ts';
import { machineFault } from '../support/machine.ts';
import { skip } from '../support/skip.ts';
import { Stack } from '../support/stack.ts';
import { directory as dir, file } from '../support/tar.ts';

const HOST = 'registry.test';
const LIMIT_MS = 900_000; // the first run on a machine builds crictl

/** A kubelet's pull: the labels that containerd's CRI puts on each layer's Prepare say which image it is of. */
describe('pulls announced by labels', function () {
  this.timeout(LIMIT_MS);
  let directory = '';
  let chain: readonly ChainId[];
  let stack: Stack;

  before(async function () {
    const fault = machineFault();
    if (fault !== undefined) skip(this, fault);
    directory = mkdtempSync(join(tmpdir(), 'sl-cri-'));
    makeLayout(directory, [awkwardImage('v1')]);
    chain = await layoutChainIds(directory, 'v1');
    stack = await Stack.start({ cri: true });
    await writeHosts(stack.certsDir, HOST, `http://${stack.registry}`);
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

  describe('with the real crictl', () => {
    let crictl: Crictl;
    before(async function () {
      try {
        crictl = await Crictl.of(stack.containerd.socket);
      } catch (error) {
        if (error instanceof GoToolError) skip(this, error.message);
        throw error;
      }
    });

    /** The layers among what containerd itself has fetched for kubelet. */
    const fetchedLayers = async (reference: string): Promise<readonly string[]> => {
      const content = (await stack.containerd.ctr('-n', 'k8s.io', 'content', 'ls', '-q')).split('\n');
      const raw = await run('skopeo', ['inspect', '--raw', '--tls-verify=false', `docker://${reference}`]);
      return parseManifest(Buffer.from(raw))
        .layers.map(({ digest }) => digest)
        .filter((digest) => content.includes(digest));
    };

    it('a converted image is taken up: containerd fetches none of its layers', async () => {
      const source = join(directory, 'kubelet');
      makeLayout(source, [{ tag: 'v1', layers: [[dir('etc')], [file('etc/name', 'kubelet')]] }]);
      const reference = await stack.convert(source, 'v1', 'kubelet/converted:v1');
      await crictl.run('pull', `${HOST}/kubelet/converted:v1`);
      assert.deepEqual(await fetchedLayers(reference), []);
      assert.match(await crictl.run('images'), /registry\.test\/kubelet\/converted/);
      assert.match(
        await stack.mustCli('status', '-o', 'json'),
        /"reference":"registry\.test\/kubelet\/converted@/,
      );
      const top = (await layoutChainIds(source, 'v1')).at(-1);
      assert.ok(top !== undefined);
      const read = (root: string) => readFile(join(root, 'etc/name'), 'utf8');
      assert.equal(await stack.withRoot('starlight', top, read, 'k8s.io'), 'kubelet');
    });

    it('one that is not converted is pulled in the ordinary way', async () => {
      const other = join(directory, 'other');
      makeLayout(other, [{ tag: 'v1', layers: [[file('only', 'here')]] }]);
      const reference = await stack.push(other, 'v1', 'kubelet/plain:v1');
      await crictl.run('pull', `${HOST}/kubelet/plain:v1`);
      assert.equal((await fetchedLayers(reference)).length, 1);
      const [id] = await layoutChainIds(other, 'v1');
      assert.ok(id !== undefined);
      const read = (root: string) => readFile(join(root, 'only'), 'utf8');
      assert.equal(await stack.withRoot('starlight', id, read, 'k8s.io'), 'here');
    });
  });
});
