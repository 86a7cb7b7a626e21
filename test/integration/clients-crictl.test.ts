import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../scripts/lib/child.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { GoToolError } from '../../scripts/lib/go-tool.ts';
import { Crictl, writeHosts } from '../support/crictl.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { type MadeLayout, makeLayout } from '../support/images.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { skip } from '../support/skip.ts';
import { directory as dir, file } from '../support/tar.ts';

const HOST = 'registry.test';
const LIMIT_MS = 900_000; // the first run on a machine builds crictl

interface PulledImage {
  readonly status: { readonly repoDigests: readonly string[]; readonly repoTags: readonly string[] };
}

/** A kubelet's pull, made by the real crictl through containerd's CRI, which knows us by `hosts.toml` alone. */
describe('crictl pulls', function () {
  this.timeout(LIMIT_MS);
  const stack = new AsyncDisposableStack();
  let directory: string;
  let made: MadeLayout;
  let crictl: Crictl;
  let certsDir: string;

  before(async function () {
    if (process.getuid?.() !== 0) skip(this, 'not root');
    directory = await mkdtemp('/tmp/sl-'); // short: it becomes part of mount options and socket names
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    made = makeLayout(join(directory, 'images'), [
      { tag: 'one', layers: [[dir('etc'), file('etc/name', 'one')], [file('data', 'x'.repeat(1 << 20))]] },
      ...['amd64', 'arm64'].map((architecture) => ({
        tag: 'many',
        layers: [[dir('etc'), file('etc/name', architecture)]],
        platform: { os: 'linux', architecture },
      })),
    ]);
    certsDir = join(directory, 'certs.d');
    const containerd = await PrivateContainerd.start({
      directory: join(directory, 'c'),
      cri: { certsDir, snapshotter: 'native' },
    });
    stack.use(containerd);
    try {
      crictl = await Crictl.of(containerd.socket);
    } catch (error) {
      if (error instanceof GoToolError) skip(this, error.message);
      throw error;
    }
  });
  after(() => stack[Symbol.asyncDispose]());

  for (const [title, name, settings] of [
    ['the embedded registry', 'embedded', undefined],
    ['docker-registry behind the proxy', 'behind', []],
    ['docker-registry behind the proxy as a mirror', 'mirror', ['--mirror-max-bytes', String(64 << 20)]],
  ] as const) {
    it(`from ${title}, single images, lists, Docker's formats`, async () => {
      const place = await mkdtemp(join(directory, 'front-'));
      await using upstream = settings === undefined ? undefined : await DockerRegistry.start(place);
      const flags =
        upstream === undefined
          ? []
          : ['--upstream-url', `http://${upstream.host}`, '--mirror-dir', join(place, 'mirror')];
      await using proxy = await ProxyProcess.start(place, [...flags, ...(settings ?? [])]);
      await writeHosts(certsDir, HOST, proxy.url);
      for (const [from, tag, ...options] of [
        ['one', 'oci', '--preserve-digests'],
        ['many', 'index', '--all', '--preserve-digests'],
        ['one', 'docker', '--format', 'v2s2'],
        ['many', 'list', '--all', '--format', 'v2s2'],
      ] as const) {
        const target = `docker://${proxy.host}/${name}/app:${tag}`;
        const source = `oci:${made.path}:${from}`;
        const digestFile = join(place, tag);
        await run('skopeo', [
          ...['--insecure-policy', 'copy', '-q', '--dest-tls-verify=false', '--digestfile', digestFile],
          ...[...options, source, target],
        ]);
        const reference = `${HOST}/${name}/app:${tag}`;
        await crictl.run('pull', reference);
        const { status } = JSON.parse(await crictl.run('inspecti', '-o', 'json', reference)) as PulledImage;
        assert.deepEqual(status.repoTags.includes(reference), true, tag);
        const digest = (await readFile(digestFile, 'utf8')).trim();
        assert.ok(
          status.repoDigests.includes(`${HOST}/${name}/app@${digest}`),
          `${tag}: ${status.repoDigests}`,
        );
      }
      await proxy.logged(/ns=registry\.test/);
      assert.match(await crictl.run('images'), new RegExp(`${HOST}/${name}/app`));
      await crictl.run('rmi', `${HOST}/${name}/app:oci`);
    });
  }

  it('goes on to the next host where an image is not here', async () => {
    const place = await mkdtemp(join(directory, 'front-'));
    await using proxy = await ProxyProcess.start(place);
    await writeHosts(certsDir, HOST, proxy.url);
    const { code, stderr } = await crictl.tryRun('pull', `${HOST}/no/such:v1`);
    assert.notEqual(code, 0);
    assert.match(stderr, /http:\/\/127\.0\.0\.1:1\//, 'the server of hosts.toml, which is not there');
    await proxy.logged(/no\/such\/manifests\/v1\?ns=registry\.test","status":404/);
  });
});
