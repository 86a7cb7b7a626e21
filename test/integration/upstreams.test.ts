import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PGlite } from '@electric-sql/pglite';
import { convert } from '../../schemas/image/convert.ts';
import { Endpoints } from '../../schemas/image/open-image.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { anonymous } from '../../schemas/registry-auth/credentials.ts';
import { run, tryRun } from '../../scripts/lib/child.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { unpackBundle } from '../extensions/starlight/unpack-bundle.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { makeLayout } from '../support/images.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { skip } from '../support/skip.ts';
import { directory as dir, file } from '../support/tar.ts';

const NAME = 'team/app';
const SIGNAL = new AbortController().signal;
/** What tells the registries' images apart. */
const contentOf = (where: string): Buffer => Buffer.from(`the program of ${where}`);

const skopeo = (...args: string[]) => run('skopeo', ['--insecure-policy', ...args]);

/** Two registries that hold different images under one name, and the embedded one. */
describe('several upstreams', function () {
  this.timeout(240_000);
  let root: string;
  let one: DockerRegistry;
  let two: DockerRegistry;
  let proxy: ProxyProcess;
  let config: string;
  const digests = new Map<string, Digest>();

  before(async () => {
    root = await mkdtemp('/tmp/sl-'); // short: it becomes part of mount options and socket names
    const layout = join(root, 'layout');
    makeLayout(
      layout,
      ['one', 'two', 'embedded'].map((tag) => ({
        tag,
        layers: [[dir('bin'), file('bin/app', contentOf(tag)), file('bin/same', 'the same everywhere')]],
        config: { Cmd: ['/bin/app'] },
      })),
    );
    for (const name of ['one', 'two']) await mkdir(join(root, name));
    [one, two] = (await Promise.all(
      ['one', 'two'].map((name) => DockerRegistry.start(join(root, name))),
    )) as [DockerRegistry, DockerRegistry];
    config = join(root, 'proxy.json');
    await writeFile(
      config,
      JSON.stringify({
        upstreams: [
          { name: 'one', url: `http://${one.host}`, hosts: ['one.test'], default: true },
          { name: 'two', url: `http://${two.host}`, hosts: ['two.test:5000'], prefix: 'second' },
          { name: 'local', embedded: true, prefix: 'local' },
        ],
      }),
    );
    proxy = await ProxyProcess.start(join(root, 'proxy'), ['--config', config]);
    const targets = [
      ['one', NAME],
      ['two', `second/${NAME}`],
      ['embedded', `local/${NAME}`],
    ] as const;
    for (const [tag, name] of targets) {
      const plain = `${proxy.host}/${name}:plain`;
      await skopeo('copy', '-q', '--dest-tls-verify=false', `oci:${layout}:${tag}`, `docker://${plain}`);
      await using endpoints = new Endpoints({
        source: plain,
        destination: `${proxy.host}/${name}:v1`,
        credentials: anonymous,
        insecureSource: true,
        insecureDestination: true,
      });
      digests.set(tag, (await convert(endpoints.source, endpoints.sink, {}, SIGNAL)).root.digest);
    }
  });
  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await one?.[Symbol.asyncDispose]();
    await two?.[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });

  const digestAt = async (url: string): Promise<string | null> => {
    const accept = 'application/vnd.oci.image.manifest.v1+json';
    const response = await fetch(url, { method: 'HEAD', headers: { accept } });
    return response.headers.get('docker-content-digest');
  };

  const PATHS: readonly (readonly [string, string, string | null])[] = [
    [`/v2/${NAME}/manifests/v1`, 'one', 'one.test'],
    [`/v2/${NAME}/manifests/v1?ns=one.test`, 'one', 'one.test'],
    [`/v2/${NAME}/manifests/v1?ns=two.test:5000`, 'two', 'two.test:5000'],
    [`/v2/second/${NAME}/manifests/v1`, 'two', 'two.test:5000'],
    [`/v2/local/${NAME}/manifests/v1`, 'embedded', null],
  ];
  for (const [path, tag, host] of PATHS) {
    it(`answers ${path} from "${tag}"`, async () => {
      assert.equal(await digestAt(`${proxy.url}${path}`), digests.get(tag));
      assert.equal((await fetch(`${proxy.url}${path}`)).headers.get('oci-namespace'), host);
    });
  }

  it('wrote each image to its own registry, under its own name', async () => {
    assert.equal(await digestAt(`http://${one.host}/v2/${NAME}/manifests/v1`), digests.get('one'));
    assert.equal(await digestAt(`http://${two.host}/v2/${NAME}/manifests/v1`), digests.get('two'));
    assert.equal(await digestAt(`http://${two.host}/v2/second/${NAME}/manifests/v1`), null);
  });

  const UNKNOWN = [
    `/v2/${NAME}/manifests/v1?ns=three.test`,
    `/v2/second/${NAME}/manifests/v1?ns=three.test`,
    '/v2/?ns=three.test',
  ];
  for (const path of UNKNOWN) {
    it(`refuses ${path} so that containerd goes on to its next host`, async () => {
      const response = await fetch(`${proxy.url}${path}`);
      assert.equal(response.status, 404);
      const body = (await response.json()) as { errors: { code: string; detail: unknown }[] };
      assert.equal(body.errors[0]?.code, 'NAME_UNKNOWN');
      assert.deepEqual(body.errors[0]?.detail, { ns: 'three.test' });
    });
  }

  for (const [title, suffix, name] of [
    ['a prefix', '', `second/${NAME}`],
    ['a host', '?ns=two.test%3A5000', NAME],
    ['the embedded registry', '', `local/${NAME}`],
  ] as const) {
    it(`uploads in chunks, by the locations that it gives, at ${title}`, async () => {
      const bytes = randomBytes(100_000);
      const digest = digestOf(bytes);
      const begun = await fetch(`${proxy.url}/v2/${name}/blobs/uploads/${suffix}`, { method: 'POST' });
      assert.equal(begun.status, 202);
      let location = new URL(begun.headers.get('location') ?? '', proxy.url);
      for (const [start, end] of [
        [0, 60_000],
        [60_000, 100_000],
      ] as const) {
        const sent = await fetch(location, {
          method: 'PATCH',
          body: bytes.subarray(start, end),
          headers: { 'Content-Type': 'application/octet-stream', 'Content-Range': `${start}-${end - 1}` },
        });
        assert.equal(sent.status, 202, await sent.text());
        location = new URL(sent.headers.get('location') ?? '', proxy.url);
      }
      location.searchParams.set('digest', digest);
      const ended = await fetch(location, { method: 'PUT' });
      assert.equal(ended.status, 201, await ended.text());
      const blob = await fetch(new URL(ended.headers.get('location') ?? '', proxy.url));
      assert.equal(digestOf(new Uint8Array(await blob.arrayBuffer())), digest);
    });
  }

  it('pages through tags of a prefix and of a host by the links that it gives', async () => {
    for (const path of [`/v2/second/${NAME}/tags/list?n=1`, `/v2/${NAME}/tags/list?ns=two.test:5000&n=1`]) {
      const tags: string[] = [];
      for (let next: string | undefined = path; next !== undefined; ) {
        const page: Response = await fetch(new URL(next, proxy.url));
        tags.push(...((await page.json()) as { tags: string[] }).tags);
        next = /<([^>]*)>/.exec(page.headers.get('link') ?? '')?.[1];
      }
      assert.ok(tags.includes('plain') && tags.includes('v1'), String(tags));
    }
  });

  it('mounts within a registry, and uploads where the source is in another', async () => {
    const headers = { accept: 'application/vnd.oci.image.manifest.v1+json' };
    const manifest = await fetch(`${proxy.url}/v2/second/${NAME}/manifests/v1`, { headers });
    const { layers } = (await manifest.json()) as { layers: { digest: string }[] };
    const mount = async (name: string, from: string) =>
      (
        await fetch(`${proxy.url}/v2/${name}/blobs/uploads/?mount=${layers[0]?.digest}&from=${from}`, {
          method: 'POST',
        })
      ).status;
    assert.equal(await mount('second/other/app', `second/${NAME}`), 201);
    assert.equal(await mount('other/app', `second/${NAME}`), 202);
    assert.equal(await mount('local/other', `second/${NAME}`), 202);
  });

  it('copies an image from one upstream to another', async () => {
    await skopeo(
      ...['copy', '-q', '--src-tls-verify=false', '--dest-tls-verify=false', '--preserve-digests'],
      ...[`docker://${proxy.host}/second/${NAME}:v1`, `docker://${proxy.host}/local/copied:v1`],
    );
    assert.equal(await digestAt(`${proxy.url}/v2/local/copied/manifests/v1`), digests.get('two'));
  });

  describe('for workers', () => {
    const bundle = async (query: string) => {
      const response = await fetch(`${proxy.url}/starlight/delta?${query}`);
      assert.equal(response.status, 200, await response.clone().text());
      return await unpackBundle(new Uint8Array(await response.arrayBuffer()));
    };
    const post = async (path: string, body: unknown) => {
      const response = await fetch(`${proxy.url}${path}`, { method: 'POST', body: JSON.stringify(body) });
      return { status: response.status, body: await response.json() };
    };

    const ASKED: readonly (readonly [title: string, name: string, ns: string | undefined, tag: string])[] = [
      ['by default', NAME, undefined, 'one'],
      ['by host', NAME, 'two.test:5000', 'two'],
      ['by prefix', `local/${NAME}`, undefined, 'embedded'],
    ];
    for (const [title, name, ns, tag] of ASKED) {
      it(`ingests and sends the image of "${tag}", named ${title}`, async () => {
        const host = ns === undefined ? {} : { ns };
        const told = await post('/starlight/notify', { reference: `${name}:v1`, ...host });
        assert.equal(told.status, 200, JSON.stringify(told.body));
        const query = new URLSearchParams({ to: `${name}:v1`, ...host });
        const unpacked = await bundle(query.toString());
        assert.equal(unpacked.bundle.header.images[0]?.manifestDigest, digests.get(tag));
        assert.ok(unpacked.contents.get(digestOf(contentOf(tag)))?.equals(contentOf(tag)));
      });
    }

    it('takes the proxy itself as host for no host', async () => {
      const unpacked = await bundle(`to=second/${NAME}:v1&ns=${proxy.host}`);
      assert.equal(unpacked.bundle.header.images[0]?.manifestDigest, digests.get('two'));
    });

    it('sends images of several registries in one bundle', async () => {
      const unpacked = await bundle(`to=${NAME}:v1,second/${NAME}:v1,local/${NAME}:v1`);
      for (const tag of ['one', 'two', 'embedded']) {
        assert.ok(unpacked.contents.get(digestOf(contentOf(tag)))?.equals(contentOf(tag)), tag);
      }
    });

    it('does not take the image of one for that of the other under the same name', async () => {
      const [held, other] = [digests.get('one'), digests.get('two')];
      const unknown = async (from: string) => {
        const url = `${proxy.url}/starlight/delta?to=second/${NAME}:v1&from=${from}`;
        const response = await fetch(url);
        assert.equal(response.status, 200, await response.text());
        return response.headers.get('starlight-unknown-from');
      };
      assert.equal(await unknown(`${NAME}@${held}`), null);
      assert.equal(await unknown(`${NAME}@${other}`), `${NAME}@${other}`);
      const report = { image: other, name: NAME, traces: [{ opens: ['bin/app'] }] };
      assert.equal((await post('/starlight/report', report)).status, 404);
      const taken = await post('/starlight/report', { ...report, ns: 'two.test:5000' });
      assert.deepEqual(taken, { status: 200, body: { accepted: 1 } });
    });

    for (const [path, body] of [
      ['/starlight/notify', { reference: `${NAME}:v1`, ns: 'three.test' }],
      ['/starlight/delta', { to: [`${NAME}:v1`], ns: 'three.test' }],
      ['/starlight/report', { image: `sha256:${'0'.repeat(64)}`, name: NAME, traces: [], ns: 'three.test' }],
    ] as const) {
      it(`refuses a host that is not fronted at ${path}`, async () => {
        const { status, body: told } = await post(path, body);
        assert.equal(status, 404);
        assert.match(JSON.stringify(told), /NAME_UNKNOWN.*does not serve the registry three\.test/);
      });
    }

    it('keeps one row for each repository of each registry', async () => {
      await proxy[Symbol.asyncDispose]();
      const database = await PGlite.create({ dataDir: join(root, 'proxy/db') });
      const { rows } = await database.query(
        'SELECT registry, name FROM repository WHERE name = $1 ORDER BY registry',
        [NAME],
      );
      await database.close();
      proxy = await ProxyProcess.start(join(root, 'proxy'), ['--config', config]);
      assert.deepEqual(rows, [
        { registry: '', name: NAME },
        { registry: 'one', name: NAME },
        { registry: 'two', name: NAME },
      ]);
    });
  });

  it('serves containerd as the mirror of each host, and of a host that it lacks leads it on', async function () {
    if (process.getuid?.() !== 0) skip(this, 'not root');
    const hosts = join(root, 'certs.d');
    const mirror = async (host: string, server: string) => {
      await mkdir(join(hosts, host), { recursive: true });
      const toml = `server = "${server}"\n[host."${proxy.url}"]\n  capabilities = ["pull", "resolve"]\n`;
      await writeFile(join(hosts, host, 'hosts.toml'), toml);
    };
    const nowhere = 'http://127.0.0.1:1';
    await mirror('one.test', nowhere);
    await mirror('two.test:5000', nowhere);
    await mirror('three.test', `http://${two.host}`);
    await using containerd = await PrivateContainerd.start({ directory: join(root, 'c') });
    for (const [host, tag] of [
      ['one.test', 'one'],
      ['two.test:5000', 'two'],
      ['three.test', 'two'],
    ] as const) {
      const reference = `${host}/${NAME}:v1`;
      await containerd.ctr('images', 'pull', '--hosts-dir', hosts, '--snapshotter', 'native', reference);
      const listed = await containerd.ctr('images', 'ls', `name==${reference}`);
      assert.ok(listed.includes(digests.get(tag) ?? 'none'), listed);
    }
    await proxy.logged(/"url":"[^"]*ns=three\.test[^"]*","status":404/);
  });

  it('does not start with faults, and tells all of them', async () => {
    const bad = join(root, 'bad.json');
    await writeFile(
      bad,
      JSON.stringify({
        upstreams: [
          { name: 'a', url: 'http://lan.example' },
          { name: 'a', prefix: 'x' },
        ],
      }),
    );
    const bin = new URL('../../bin/starlight-proxy', import.meta.url).pathname;
    const { code, stderr } = await tryRun(bin, ['--config', bad]);
    assert.equal(code, 1);
    for (const line of [
      /upstreams\[0\]\.url: plain http/,
      /upstreams\[0\]: is never chosen/,
      /upstreams\[1\]\.url: missing/,
      /upstreams\[1\]\.name: the name "a"/,
    ]) {
      assert.match(stderr, line);
    }
  });
});
