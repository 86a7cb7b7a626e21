import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../scripts/lib/child.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { type MadeLayout, makeLayout } from '../support/images.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { skip } from '../support/skip.ts';
import { directory as dir, file } from '../support/tar.ts';

interface Front {
  readonly proxy: ProxyProcess;
  readonly upstream?: DockerRegistry;
}

async function frontOf(directory: string, flags: readonly string[] = []): Promise<Front> {
  const upstream = await DockerRegistry.start(directory);
  const proxy = await ProxyProcess.start(directory, ['--upstream-url', `http://${upstream.host}`, ...flags]);
  return { proxy, upstream };
}

const FRONTS: readonly (readonly [string, (directory: string) => Promise<Front>])[] = [
  ['the embedded registry', async (directory) => ({ proxy: await ProxyProcess.start(directory) })],
  ['docker-registry behind the proxy', (directory) => frontOf(directory)],
  [
    'docker-registry behind the proxy as a mirror',
    (directory) =>
      frontOf(directory, ['--mirror-dir', join(directory, 'mirror'), '--mirror-max-bytes', String(64 << 20)]),
  ],
];

/** OCI's image and index, Docker's manifest (schema 2) and list. */
const TAGS = ['oci', 'many', 'docker', 'list'] as const;

/** An upload that was none: the registry had the blob in `team/app`. */
const MOUNTED = /\bfrom=team(?:%2F|\/)app\b.* 201$/;

/** How the uploads to a repository were begun, and answered. */
const uploads = (log: string, name: string): string[] =>
  [...log.matchAll(/"method":"POST","url":"\/v2\/([^"]+)\/blobs\/uploads\/([^"]*)","status":(\d+)/g)]
    .filter((match) => match[1] === name)
    .map(([, , query, status]) => `${query} ${status}`);

const skopeo = (...args: string[]) => run('skopeo', ['--insecure-policy', ...args]);

function images(path: string): MadeLayout {
  const layers = (text: string) => [
    [dir('etc'), file('etc/name', text)],
    [dir('data'), file('data/blob', 'x'.repeat(3 << 20))],
  ];
  return makeLayout(path, [
    { tag: 'oci', layers: layers('oci') },
    { tag: 'many', layers: layers('amd64'), platform: { os: 'linux', architecture: 'amd64' } },
    { tag: 'many', layers: layers('arm64'), platform: { os: 'linux', architecture: 'arm64' } },
  ]);
}

for (const [title, start] of FRONTS) {
  describe(`registry clients with ${title}`, function () {
    this.timeout(120_000);
    let directory: string;
    let front: Front;
    let host: string;
    const digests = new Map<string, string>();
    before(async () => {
      directory = await mkdtemp('/tmp/sl-'); // short: it becomes part of mount options and socket names
      const made = images(join(directory, 'images'));
      front = await start(directory);
      host = front.proxy.host;
      const push = (from: string, to: string, ...flags: string[]) =>
        skopeo(
          ...['copy', '-q', '--dest-tls-verify=false', ...flags],
          ...[`oci:${made.path}:${from}`, `docker://${host}/team/app:${to}`],
        );
      for (const [tag, { digest }] of made.tags) {
        await push(tag, tag, '--all', '--preserve-digests');
        digests.set(tag, digest);
      }
      const digestFile = join(directory, 'digest');
      for (const [from, to, ...flags] of [
        ['oci', 'docker'],
        ['many', 'list', '--all'],
      ] as const) {
        await push(from, to, ...flags, '--format', 'v2s2', '--digestfile', digestFile);
        digests.set(to, (await readFile(digestFile, 'utf8')).trim());
      }
    });
    after(async () => {
      await front?.proxy[Symbol.asyncDispose]();
      await front?.upstream?.[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    });

    for (const tag of TAGS) {
      it(`skopeo copies the image "${tag}" in and out, its digest unchanged`, async () => {
        const target = join(directory, `out-${tag}`);
        await skopeo(
          ...['copy', '-q', '--all', '--preserve-digests', '--src-tls-verify=false'],
          ...[`docker://${host}/team/app:${tag}`, `dir:${target}`],
        );
        const found = await skopeo('manifest-digest', join(target, 'manifest.json'));
        assert.equal(found.trim(), digests.get(tag));
      });
    }

    it('skopeo lists the tags', async () => {
      const listed = await skopeo('list-tags', '--tls-verify=false', `docker://${host}/team/app`);
      assert.deepEqual(JSON.parse(listed).Tags.sort(), TAGS.toSorted());
    });

    it('skopeo copies to another repository, cross-mounting, and deletes', async () => {
      await skopeo(
        ...['copy', '-q', '--src-tls-verify=false', '--dest-tls-verify=false'],
        ...[`docker://${host}/team/app:oci`, `docker://${host}/other/app:gone`],
      );
      const begun = uploads(front.proxy.server.log(), 'other/app');
      assert.ok(
        begun.some((one) => MOUNTED.test(one)),
        begun.join('\n'),
      );
      await skopeo('delete', '--tls-verify=false', `docker://${host}/other/app:gone`);
      await assert.rejects(
        skopeo('inspect', '--tls-verify=false', `docker://${host}/other/app:gone`),
        /manifest unknown|manifest not known/,
      );
    });

    if (title.startsWith('the embedded')) {
      // Docker's own manifests lie there as well, but skopeo passes over them in a layout.
      for (const tag of ['oci', 'many']) {
        it(`skopeo reads "${tag}" from the layout directory itself`, async () => {
          const layout = join(front.proxy.storageDir, 'team/app/_layout');
          const raw = await skopeo('inspect', '--raw', `oci:${layout}:${tag}`);
          await writeFile(join(directory, 'raw'), raw);
          const digest = await skopeo('manifest-digest', join(directory, 'raw'));
          assert.equal(digest.trim(), digests.get(tag));
          await skopeo('copy', '-q', `oci:${layout}:${tag}`, `dir:${join(directory, `layout-${tag}`)}`);
        });
      }
    }

    it('containerd pulls through it as the mirror of another host', async function () {
      if (process.getuid?.() !== 0) skip(this, 'not root');
      const hosts = join(directory, 'certs.d');
      await mkdir(join(hosts, 'registry.test'), { recursive: true });
      await writeFile(
        join(hosts, 'registry.test/hosts.toml'),
        `server = "http://127.0.0.1:1"\n[host."${front.proxy.url}"]\n  capabilities = ["pull", "resolve"]\n`,
      );
      await using containerd = await PrivateContainerd.start({ directory: join(directory, 'c') });
      for (const tag of TAGS) {
        const reference = `registry.test/team/app:${tag}`;
        await containerd.ctr('images', 'pull', '--hosts-dir', hosts, '--snapshotter', 'native', reference);
        const listed = await containerd.ctr('images', 'ls', `name==${reference}`);
        assert.ok(listed.includes(digests.get(tag) ?? 'none'), listed);
      }
      await front.proxy.logged(/ns=registry\.test/);
    });

    it('containerd pushes to it what it has pulled, digests unchanged', async function () {
      if (process.getuid?.() !== 0) skip(this, 'not root');
      await using containerd = await PrivateContainerd.start({ directory: join(directory, 'p') });
      for (const tag of TAGS) {
        const [from, to] = [`${host}/team/app:${tag}`, `${host}/pushed/app:${tag}`];
        await containerd.ctr('content', 'fetch', '--plain-http', '--all-platforms', from);
        await containerd.ctr('images', 'push', '--plain-http', to, from);
        const pushed = join(directory, `pushed-${tag}`);
        await skopeo('copy', '-q', '--all', '--src-tls-verify=false', `docker://${to}`, `dir:${pushed}`);
        const found = await skopeo('manifest-digest', join(pushed, 'manifest.json'));
        assert.equal(found.trim(), digests.get(tag), tag);
      }
      const begun = uploads(front.proxy.server.log(), 'pushed/app');
      assert.ok(begun.length > 0 && begun.every((one) => MOUNTED.test(one)), begun.join('\n'));
    });
  });
}
