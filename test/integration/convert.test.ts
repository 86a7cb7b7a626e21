import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { convert } from '../../schemas/image/convert.ts';
import { anonymous } from '../../schemas/registry-auth/credentials.ts';
import { Endpoints } from '../../schemas/image/open-image.ts';
import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { parseManifest } from '../../schemas/oci/types.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { makeLayout } from '../support/images.ts';
import { directory, file, hardlink, opaque, symlink, type TarEntry, whiteout } from '../support/tar.ts';
import { compareTrees, listTree } from '../support/tree-listing.ts';

const run = promisify(execFile);
const signal = new AbortController().signal;

const LOWER: readonly TarEntry[] = [
  directory('.'),
  directory('usr'),
  directory('var'),
  directory('etc', { mtimeSeconds: 1_000 }),
  file('etc/passwd', 'root:x:0:0\n', { mtimeSeconds: 2_000 }),
  file('etc/setuid', 'x', { mode: 0o4755 }),
  directory('usr/lib'),
  file('usr/lib/large', Buffer.alloc(6_000_000, 'large content '), { uid: 70_000 }),
  file('usr/lib/away', 'gone in the upper layer'),
  symlink('usr/lib64', 'lib'),
  hardlink('usr/passwd', 'etc/passwd'),
  directory('var/cache'),
  file('var/cache/old', 'old'),
];
const UPPER: readonly TarEntry[] = [
  whiteout('usr/lib/away'),
  directory('var/cache'),
  opaque('var/cache'),
  file('var/cache/new', 'new'),
];

async function convertImage(source: string, destination: string): ReturnType<typeof convert> {
  await using endpoints = new Endpoints({
    source,
    destination,
    credentials: anonymous,
    insecureSource: false,
    insecureDestination: false,
  });
  return await convert(endpoints.source, endpoints.sink, {}, signal);
}

describe('convert() from registry to registry', function () {
  this.timeout(120_000);
  let scratch: string;
  let registry: DockerRegistry;
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'starlight-test-convert-'));
    registry = await DockerRegistry.start(scratch);
    const layout = join(scratch, 'layout');
    makeLayout(layout, [{ tag: 'v1', layers: [LOWER, UPPER] }]);
    const to = `docker://${registry.host}/plain:v1`;
    await run('skopeo', ['copy', '-q', '--dest-tls-verify=false', `oci:${layout}:v1`, to]);
  });
  after(async () => {
    await registry[Symbol.asyncDispose]();
    await rm(scratch, { recursive: true, force: true });
  });

  it('gives an image that unpacks as the original does', async () => {
    await convertImage(`${registry.host}/plain:v1`, `${registry.host}/made/converted:v1`);
    const unpacked: string[] = [];
    for (const name of ['plain', 'made/converted']) {
      const layout = join(scratch, `copy-${unpacked.length}`);
      const from = `docker://${registry.host}/${name}:v1`;
      await run('skopeo', ['copy', '-q', '--src-tls-verify=false', from, `oci:${layout}:v1`]);
      const bundle = join(scratch, `bundle-${unpacked.length}`);
      await run('umoci', ['unpack', '--image', `${layout}:v1`, bundle]);
      unpacked.push(join(bundle, 'rootfs'));
    }
    const [original = '', converted = ''] = unpacked;
    assert.ok(listTree(original).size > 8);
    assert.deepEqual(compareTrees(listTree(original), listTree(converted)), []);
  });

  it('stores the table of contents where referrers are looked for', async () => {
    const { images } = await convertImage(`${registry.host}/plain:v1`, `${registry.host}/made/converted:v2`);
    const [image] = images;
    assert.ok(image);
    const tag = image.manifest.digest.replace(':', '-');
    const answer = await fetch(`http://${registry.host}/v2/made/converted/manifests/${tag}`, {
      headers: { accept: MEDIA_TYPE.ociIndex },
    });
    const list = (await answer.json()) as { manifests: { artifactType: string; digest: string }[] };
    assert.deepEqual(
      list.manifests.map((one) => one.artifactType),
      [MEDIA_TYPE.starlightToc],
    );
    const manifest = parseManifest(image.manifest.bytes);
    assert.equal(manifest.annotations?.[ANNOTATION.tocDigest], image.tocDigest);
  });

  it('takes the result as it is when it is to be converted again, table of contents and all', async () => {
    const first = await convertImage(`${registry.host}/plain:v1`, `${registry.host}/made/converted:v3`);
    const again = await convertImage(`${registry.host}/made/converted:v3`, `${registry.host}/elsewhere:v3`);
    assert.equal(again.root.digest, first.root.digest);
    assert.deepEqual(again.images, []);
    const tag = first.root.digest.replace(':', '-');
    const answer = await fetch(`http://${registry.host}/v2/elsewhere/manifests/${tag}`, {
      headers: { accept: MEDIA_TYPE.ociIndex },
    });
    assert.equal(answer.status, 200);
  });

  it('fails where there is no such image', async () => {
    await assert.rejects(convertImage(`${registry.host}/plain:none`, `${registry.host}/x:y`), {
      name: 'ImageError',
      kind: 'not-found',
    });
  });
});
