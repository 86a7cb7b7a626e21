import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestHex, digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { type Descriptor, parseIndex } from '../../schemas/oci/types.ts';
import { run } from '../../scripts/lib/child.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { type MadeLayout, makeLayout } from '../support/images.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { directory as dir, file } from '../support/tar.ts';

const SBOM = 'application/vnd.example.sbom.v1+json';

const skopeo = (...args: string[]) => run('skopeo', ['--insecure-policy', ...args]);
const IN = '--src-tls-verify=false';
const OUT = '--dest-tls-verify=false';

/** Writes a layout with one artifact that refers to `subject`; its only tag is `sbom`. */
async function artifactLayout(path: string, subject: Descriptor): Promise<Digest> {
  const put = async (mediaType: string, text: string): Promise<Descriptor> => {
    const digest = digestOf(text);
    await writeFile(join(path, 'blobs/sha256', digestHex(digest)), text);
    return { mediaType, digest, size: Buffer.byteLength(text) };
  };
  await mkdir(join(path, 'blobs/sha256'), { recursive: true });
  await writeFile(join(path, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const config = await put('application/vnd.oci.empty.v1+json', '{}');
  const sbom = await put(SBOM, '{"packages":[]}');
  const manifest = await put(
    MEDIA_TYPE.ociManifest,
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      artifactType: SBOM,
      config,
      layers: [sbom],
      subject,
      annotations: { 'org.example.made': 'by a test' },
    }),
  );
  const annotations = { 'org.opencontainers.image.ref.name': 'sbom' };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  await writeFile(join(path, 'index.json'), JSON.stringify(index));
  return manifest.digest;
}

for (const [title, behind, settings] of [
  ['the embedded registry', false, []],
  ['docker-registry behind the proxy', true, []],
  ['docker-registry behind the proxy as a mirror', true, ['--mirror-max-bytes', String(64 << 20)]],
] as const) {
  describe(`skopeo and umoci with ${title}`, function () {
    this.timeout(120_000);
    const stack = new AsyncDisposableStack();
    let directory: string;
    let made: MadeLayout;
    let proxy: ProxyProcess;
    let app: string;

    const digestAt = async (reference: string): Promise<Digest> =>
      digestOf(Buffer.from(await skopeo('inspect', '--raw', '--tls-verify=false', reference), 'utf8'));
    const tagged = (tag: string): Descriptor => made.tags.get(tag) ?? assert.fail(tag);

    before(async () => {
      directory = await mkdtemp('/tmp/sl-');
      stack.defer(() => rm(directory, { recursive: true, force: true }));
      made = makeLayout(join(directory, 'images'), [
        {
          tag: 'one',
          layers: [[dir('etc'), file('etc/name', 'first')], [file('etc/name', 'second')]],
          config: { Labels: { made: 'by a test' } },
        },
        ...['amd64', 'arm64', 's390x'].map((architecture) => ({
          tag: 'many',
          layers: [[dir('etc'), file('etc/name', architecture)]],
          platform: { os: 'linux', architecture },
        })),
      ]);
      const upstream = behind ? stack.use(await DockerRegistry.start(directory)) : undefined;
      const mirror = settings.length === 0 ? [] : ['--mirror-dir', join(directory, 'mirror'), ...settings];
      const flags = upstream === undefined ? [] : ['--upstream-url', `http://${upstream.host}`, ...mirror];
      proxy = stack.use(await ProxyProcess.start(directory, flags));
      app = `docker://${proxy.host}/team/app`;
      for (const tag of ['one', 'many']) {
        await skopeo(
          'copy',
          '-q',
          OUT,
          '--all',
          '--preserve-digests',
          `oci:${made.path}:${tag}`,
          `${app}:${tag}`,
        );
      }
    });
    after(() => stack[Symbol.asyncDispose]());

    it('inspect tells what the image says of itself', async () => {
      const told = JSON.parse(await skopeo('inspect', '--tls-verify=false', `${app}:one`));
      assert.deepEqual(told.Labels, { made: 'by a test' });
      assert.equal(told.Digest, tagged('one').digest);
      assert.deepEqual(told.RepoTags.toSorted(), ['many', 'one']);
      assert.equal(told.Layers.length, 2);
    });

    it('copies an index with all its images, and one of its platforms alone', async () => {
      const copied = `docker://${proxy.host}/team/copied`;
      await skopeo('copy', '-q', IN, OUT, '--all', '--preserve-digests', `${app}:many`, `${copied}:all`);
      assert.equal(await digestAt(`${copied}:all`), tagged('many').digest);
      for (const { manifest } of made.images.filter(({ tag }) => tag === 'many')) {
        assert.equal(await digestAt(`${copied}@${manifest.digest}`), manifest.digest);
      }
      await skopeo('--override-arch', 's390x', 'copy', '-q', IN, OUT, `${app}:many`, `${copied}:s390x`);
      const alone = made.images.find(({ platform }) => platform.architecture === 's390x');
      assert.equal(await digestAt(`${copied}:s390x`), alone?.manifest.digest);
    });

    it('syncs a repository to a directory, and a directory to a repository', async () => {
      const target = join(directory, 'synced');
      const from = ['sync', '--all', '--src', 'docker', '--dest', 'dir', IN];
      await skopeo(...from, `${proxy.host}/team/app`, target);
      assert.deepEqual((await readdir(target)).toSorted(), ['app:many', 'app:one']);
      const to = ['sync', '--all', '--src', 'dir', '--dest', 'docker', OUT];
      await skopeo(...to, target, `${proxy.host}/back`);
      for (const tag of ['one', 'many']) {
        assert.equal(await digestAt(`docker://${proxy.host}/back/app:${tag}`), tagged(tag).digest);
      }
    });

    it('deletes an image, which is gone then, while another with the same layers stays', async () => {
      const target = `docker://${proxy.host}/team/deleted`;
      await skopeo('copy', '-q', IN, OUT, `${app}:one`, `${target}:gone`);
      await skopeo('copy', '-q', IN, OUT, '--format', 'v2s2', `${app}:one`, `${target}:stays`);
      await skopeo('delete', '--tls-verify=false', `${target}:gone`);
      await assert.rejects(digestAt(`${target}:gone`), /manifest (?:un|not )known/);
      await skopeo('copy', '-q', IN, `${target}:stays`, `dir:${join(directory, 'stays')}`);
    });

    it("keeps Docker's manifests and lists as they are", async () => {
      const target = `docker://${proxy.host}/team/docker`;
      for (const [tag, type] of [
        ['one', MEDIA_TYPE.dockerManifest],
        ['many', MEDIA_TYPE.dockerList],
      ] as const) {
        await skopeo('copy', '-q', IN, OUT, '--all', '--format', 'v2s2', `${app}:${tag}`, `${target}:${tag}`);
        const raw = await skopeo('inspect', '--raw', '--tls-verify=false', `${target}:${tag}`);
        assert.equal(JSON.parse(raw).mediaType, type);
        const answer = await fetch(`${proxy.url}/v2/team/docker/manifests/${tag}`, {
          headers: { Accept: type },
        });
        assert.equal(answer.headers.get('content-type'), type);
        assert.equal(answer.headers.get('docker-content-digest'), digestOf(await answer.text()));
      }
    });

    it('umoci unpacks what skopeo has pulled, and its new layer goes back and forth', async () => {
      const rootless = process.getuid?.() === 0 ? [] : ['--rootless'];
      const pull = async (reference: string, name: string) => {
        const image = `${join(directory, `layout-${name}`)}:${name}`;
        await skopeo('copy', '-q', IN, reference, `oci:${image}`);
        const bundle = join(directory, `bundle-${name}`);
        await run('umoci', ['unpack', ...rootless, '--image', image, bundle]);
        return { image, bundle, rootfs: join(bundle, 'rootfs') };
      };
      const { image, bundle, rootfs } = await pull(`${app}:one`, 'one');
      assert.equal(await readFile(join(rootfs, 'etc/name'), 'utf8'), 'second');
      await writeFile(join(rootfs, 'etc/added'), 'by umoci');
      await rm(join(rootfs, 'etc/name'));
      await run('umoci', ['repack', '--image', image, bundle]);
      const repacked = `docker://${proxy.host}/team/repacked:two`;
      await skopeo('copy', '-q', OUT, `oci:${image}`, repacked);
      const back = await pull(repacked, 'two');
      assert.deepEqual(await readdir(join(back.rootfs, 'etc')), ['added']);
      assert.equal(await readFile(join(back.rootfs, 'etc/added'), 'utf8'), 'by umoci');
    });

    it('lists an artifact with its subject when it is pushed, and no longer when it is deleted', async () => {
      const subject = tagged('one');
      const layout = join(directory, 'artifact');
      const digest = await artifactLayout(layout, subject);
      const list = async (query = '') => {
        const answer = await fetch(`${proxy.url}/v2/team/app/referrers/${subject.digest}${query}`);
        assert.equal(answer.status, 200);
        return parseIndex(Buffer.from(await answer.arrayBuffer())).manifests;
      };
      assert.deepEqual(await list(), []);
      await skopeo('copy', '-q', OUT, '--preserve-digests', `oci:${layout}:sbom`, `${app}:sbom`);
      const [entry] = await list(`?artifactType=${encodeURIComponent(SBOM)}`);
      assert.equal(entry?.digest, digest);
      assert.equal(entry.artifactType, SBOM);
      assert.deepEqual(entry.annotations, { 'org.example.made': 'by a test' });
      assert.deepEqual(await list('?artifactType=another'), []);
      await skopeo('copy', '-q', IN, `${app}@${digest}`, `dir:${join(directory, 'sbom')}`);
      await skopeo('delete', '--tls-verify=false', `${app}:sbom`);
      assert.deepEqual(await list(), []);
    });
  });
}
