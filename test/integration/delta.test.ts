import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { convert } from '../../schemas/image/convert.ts';
import { anonymous } from '../../schemas/registry-auth/credentials.ts';
import { Endpoints } from '../../schemas/image/open-image.ts';
import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { parseManifest } from '../../schemas/oci/types.ts';
import { unpackBundle } from '../extensions/starlight/unpack-bundle.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { makeLayout } from '../support/images.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { until } from '../support/until.ts';
import { directory, file, hardlink, symlink, type TarEntry, whiteout } from '../support/tar.ts';

const run = promisify(execFile);
const SIGNAL = new AbortController().signal;
const NAME = 'team/app';
const TOKEN = 'a token of some length';
/** What is pushed here is taken in when notify says so, and not before. */
const ONLY_NOTIFIED = ['--no-events-pushes'];

const contentsOf = (version: string): Readonly<Record<string, Buffer>> => ({
  'bin/app': Buffer.from(`the program, version ${version}`),
  'lib/large': Buffer.alloc(3_000_000, 'the same in both '),
  'lib/changes': Buffer.alloc(700_000, `differs: ${version} `),
  'lib/tiny': Buffer.from('x'),
  'etc/only': Buffer.from(`only in ${version}`),
});
const layersOf = (version: string): readonly (readonly TarEntry[])[] => {
  const files = contentsOf(version);
  const entry = (path: string) => file(path, files[path] ?? '');
  return [
    [
      directory('bin'),
      directory('lib'),
      entry('lib/large'),
      entry('lib/tiny'),
      file('lib/gone', 'hidden later'),
    ],
    [entry('bin/app'), entry('lib/changes'), entry('etc/only'), file('etc/empty'), whiteout('lib/gone')],
    [hardlink('bin/again', 'bin/app'), symlink('bin/link', 'app')],
  ];
};

async function skopeo(layout: string, tag: string, host: string): Promise<void> {
  await run('skopeo', [
    'copy',
    '--dest-tls-verify=false',
    `oci:${layout}:${tag}`,
    `docker://${host}/${NAME}:plain-${tag}`,
  ]);
}

async function convertTag(host: string, tag: string, estargz = false): Promise<Digest> {
  await using endpoints = new Endpoints({
    source: `${host}/${NAME}:plain-${tag}`,
    destination: `${host}/${NAME}:${tag}`,
    credentials: anonymous,
    insecureSource: true,
    insecureDestination: true,
  });
  return (await convert(endpoints.source, endpoints.sink, { estargz }, SIGNAL)).root.digest;
}

interface Notified {
  readonly images: readonly {
    readonly manifestDigest: Digest;
    readonly status: string;
    readonly platform: string;
  }[];
}

const post = (url: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body), headers });

async function notify(url: string, tag: string): Promise<Notified> {
  const response = await post(url, '/starlight/notify', { reference: `${NAME}:${tag}` });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()) as Notified;
}

async function bundle(url: string, query: string) {
  const response = await fetch(`${url}/starlight/delta?${query}`);
  assert.equal(response.status, 200, await response.clone().text());
  return { etag: response.headers.get('etag') ?? '', bytes: new Uint8Array(await response.arrayBuffer()) };
}

/** Removes what binds our table to the manifest, as if another tool had made the eStargz. */
async function pushUnbound(host: string, tag: string): Promise<Digest> {
  const url = `http://${host}/v2/${NAME}/manifests`;
  const found = await fetch(`${url}/${tag}`, { headers: { accept: MEDIA_TYPE.ociManifest } });
  const manifest = parseManifest(new Uint8Array(await found.arrayBuffer()));
  const { [ANNOTATION.tocDigest]: _, ...annotations } = manifest.annotations ?? {};
  const bytes = JSON.stringify({ ...manifest, annotations });
  const headers = { 'content-type': MEDIA_TYPE.ociManifest };
  const put = await fetch(`${url}/foreign`, { method: 'PUT', body: bytes, headers });
  assert.equal(put.status, 201);
  return digestOf(bytes);
}

const FRONTS: readonly (readonly [what: string, upstream: boolean])[] = [
  ['the embedded registry', false],
  ['a docker-registry', true],
];

for (const [what, upstream] of FRONTS) {
  describe(`delta bundles from ${what}`, function () {
    this.timeout(180_000);
    let root: string;
    let registry: DockerRegistry | undefined;
    let proxy: ProxyProcess;
    let v1: Digest;
    let v2: Digest;

    before(async () => {
      root = await mkdtemp(join(tmpdir(), 'starlight-test-delta-'));
      const layout = join(root, 'layout');
      makeLayout(
        layout,
        ['v1', 'v2'].map((tag) => ({ tag, layers: layersOf(tag), config: { Cmd: ['/bin/app'] } })),
      );
      const flags: string[] = [...ONLY_NOTIFIED];
      if (upstream) {
        await mkdir(join(root, 'docker'));
        registry = await DockerRegistry.start(join(root, 'docker'));
        flags.push('--upstream-url', `http://${registry.host}`);
      }
      proxy = await ProxyProcess.start(join(root, 'proxy'), flags);
      for (const tag of ['v1', 'v2']) await skopeo(layout, tag, proxy.host);
      v1 = await convertTag(proxy.host, 'v1');
      v2 = await convertTag(proxy.host, 'v2');
    });
    after(async () => {
      await proxy?.[Symbol.asyncDispose]();
      await registry?.[Symbol.asyncDispose]();
      await rm(root, { recursive: true, force: true });
    });

    it('ingests ten notifications at once, and says already afterwards', async () => {
      const answers = await Promise.all(Array.from({ length: 10 }, () => notify(proxy.url, 'v1')));
      for (const { images } of answers) assert.equal(images[0]?.manifestDigest, v1);
      const again = await notify(proxy.url, 'v1');
      assert.deepEqual(again.images[0]?.status, 'already');
    });

    it('answers an image that is not converted with 422, and leaves it pullable', async () => {
      const response = await post(proxy.url, '/starlight/notify', { reference: `${NAME}:plain-v1` });
      assert.equal(response.status, 422);
      const body = (await response.json()) as { errors: { code: string }[] };
      assert.equal(body.errors[0]?.code, 'NOT_CONVERTED');
      const target = join(root, 'pulled');
      await run('skopeo', [
        'copy',
        '--src-tls-verify=false',
        `docker://${proxy.host}/${NAME}:plain-v1`,
        `oci:${target}:x`,
      ]);
    });

    it('brings every file, verified, then of the next version what is new', async () => {
      const full = await unpackBundle((await bundle(proxy.url, `to=${NAME}:v1`)).bytes);
      for (const [path, bytes] of Object.entries(contentsOf('v1'))) {
        assert.ok(full.contents.get(digestOf(bytes))?.equals(bytes), path);
      }
      assert.equal(full.contents.size, 5);
      const update = await bundle(proxy.url, `to=${NAME}:v2&from=${NAME}@${v1}`);
      const { bundle: opened, contents } = await unpackBundle(update.bytes, full.tocs);
      assert.equal(opened.header.images[0]?.manifestDigest, v2, 'ingested without a notification');
      const expected = ['bin/app', 'lib/changes', 'etc/only'].map((path) =>
        digestOf(contentsOf('v2')[path] ?? ''),
      );
      assert.deepEqual([...contents.keys()].sort(), expected.sort());
    });

    it('puts what a report says was opened first to the front, and keeps that over a notification', async () => {
      const traces = [{ opens: ['lib/changes', 'bin/app'] }];
      const response = await post(proxy.url, '/starlight/report', { image: v1, name: NAME, traces });
      assert.deepEqual(await response.json(), { accepted: 2 });
      await notify(proxy.url, 'v1');
      const { contents } = await unpackBundle((await bundle(proxy.url, `to=${NAME}:v1`)).bytes);
      const first = ['lib/changes', 'bin/app'].map((path) => digestOf(contentsOf('v1')[path] ?? ''));
      assert.deepEqual([...contents.keys()].slice(0, 2), first);
    });

    it('goes on from where a stream was cut, also after a restart of the proxy', async () => {
      const { etag, bytes } = await bundle(proxy.url, `to=${NAME}:v2`);
      const resume = async (start: number) => {
        const headers = { range: `bytes=${start}-`, 'if-range': etag };
        const rest = await fetch(`${proxy.url}/starlight/delta?to=${NAME}:v2`, { headers });
        assert.equal(rest.status, 206);
        assert.ok(Buffer.from(await rest.arrayBuffer()).equals(bytes.subarray(start)), `from ${start}`);
      };
      for (const start of [1, 500, bytes.length >> 1, bytes.length - 1]) await resume(start);
      await proxy[Symbol.asyncDispose]();
      const flags = [
        ...ONLY_NOTIFIED,
        ...(registry === undefined ? [] : ['--upstream-url', `http://${registry.host}`]),
      ];
      proxy = await ProxyProcess.start(join(root, 'proxy'), flags);
      await resume(bytes.length - 100);
    });

    it('keeps what it has ingested and been told when it is killed', async () => {
      const before = await bundle(proxy.url, `to=${NAME}:v1`);
      process.kill(proxy.server.pid, 'SIGKILL');
      await proxy[Symbol.asyncDispose]();
      const flags = [
        ...ONLY_NOTIFIED,
        ...(registry === undefined ? [] : ['--upstream-url', `http://${registry.host}`]),
      ];
      proxy = await ProxyProcess.start(join(root, 'proxy'), flags);
      assert.equal((await notify(proxy.url, 'v1')).images[0]?.status, 'already');
      assert.equal((await bundle(proxy.url, `to=${NAME}:v1`)).etag, before.etag, 'traces are as they were');
    });

    it('takes a foreign eStargz image, and says that nothing binds its table', async () => {
      await convertTag(proxy.host, 'v1', true);
      const digest = await pushUnbound(proxy.host, 'v1');
      const { images } = await notify(proxy.url, 'foreign');
      assert.equal(images[0]?.status, 'ingested');
      const { bundle: opened, contents } = await unpackBundle(
        (await bundle(proxy.url, `to=${NAME}:foreign`)).bytes,
      );
      assert.equal(opened.header.images[0]?.manifestDigest, digest);
      assert.equal(opened.header.images[0]?.tocBound, false);
      for (const [path, bytes] of Object.entries(contentsOf('v1'))) {
        assert.ok(contents.get(digestOf(bytes))?.equals(bytes), path);
      }
    });

    it('announces itself', async () => {
      for (const path of ['/v2/_oci/ext/discover', `/v2/${NAME}/_oci/ext/discover`]) {
        const body = (await (await fetch(`${proxy.url}${path}`)).json()) as {
          extensions: { name: string }[];
        };
        assert.equal(body.extensions[0]?.name, '_starlight');
      }
    });
  });
}

describe('delta bundles from two replicas on PostgreSQL and Redis', function () {
  this.timeout(180_000);
  let root: string;
  let registry: DockerRegistry;
  let postgres: PostgresServer;
  let redis: RedisServer;
  const replicas: ProxyProcess[] = [];

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-test-replicas-'));
    await mkdir(join(root, 'docker'));
    [registry, postgres, redis] = await Promise.all([
      DockerRegistry.start(join(root, 'docker')),
      startPostgres(),
      startRedis(),
    ]);
    const flags = [
      ...['--upstream-url', `http://${registry.host}`, '--database-url', postgres.url],
      ...['--cache-redis-url', redis.url, '--starlight-token', TOKEN, ...ONLY_NOTIFIED],
    ];
    // Both at once on an empty database.
    replicas.push(
      ...(await Promise.all(['a', 'b'].map((name) => ProxyProcess.start(join(root, name), flags)))),
    );
    const layout = join(root, 'layout');
    makeLayout(layout, [{ tag: 'v1', layers: layersOf('v1') }]);
    await skopeo(layout, 'v1', replicas[0]?.host ?? '');
    await convertTag(replicas[0]?.host ?? '', 'v1');
  });
  after(async () => {
    await Promise.all(replicas.map((proxy) => proxy[Symbol.asyncDispose]()));
    await registry?.[Symbol.asyncDispose]();
    await postgres?.destroy();
    await redis?.destroy();
    await rm(root, { recursive: true, force: true });
  });

  const urls = () => replicas.map(({ url }) => url);

  it('notify and report only with the token', async () => {
    const [url = ''] = urls();
    const paths = [
      ['/starlight/notify', { reference: `${NAME}:v1` }],
      ['/starlight/report', { image: digestOf('x'), name: NAME, traces: [] }],
    ] as const;
    for (const [path, body] of paths) {
      for (const headers of [{}, { 'starlight-token': 'wrong' }, { 'starlight-token': `${TOKEN}x` }]) {
        const response = await post(url, path, body, headers as Record<string, string>);
        assert.equal(response.status, 403, path);
      }
    }
  });

  it('ingest the same at once', async () => {
    const headers = { 'starlight-token': TOKEN };
    const answers = await Promise.all(
      [...urls(), ...urls(), ...urls()].map(async (url) => {
        const response = await post(url, '/starlight/notify', { reference: `${NAME}:v1` }, headers);
        assert.equal(response.status, 200);
        return (await response.json()) as Notified;
      }),
    );
    assert.ok(answers.some(({ images }) => images[0]?.status === 'ingested'));
  });

  it('answer the same bytes, and see each other’s reports', async () => {
    const [one, two] = await Promise.all(urls().map((url) => bundle(url, `to=${NAME}:v1`)));
    assert.ok(one !== undefined && two !== undefined);
    assert.equal(one.etag, two.etag);
    assert.deepEqual(one.bytes, two.bytes);
    const opened = await unpackBundle(one.bytes);
    const image = opened.bundle.header.images[0]?.manifestDigest;
    const headers = { 'starlight-token': TOKEN };
    const traces = [{ opens: ['lib/large'] }];
    const told = await post(urls()[0] ?? '', '/starlight/report', { image, name: NAME, traces }, headers);
    assert.equal(told.status, 200);
    const after = await Promise.all(urls().map((url) => bundle(url, `to=${NAME}:v1`)));
    assert.equal(after[0]?.etag, after[1]?.etag);
    assert.notEqual(after[0]?.etag, one.etag);
    const { contents } = await unpackBundle(after[1]?.bytes ?? new Uint8Array(0));
    assert.equal([...contents.keys()][0], digestOf(contentsOf('v1')['lib/large'] ?? ''));
  });

  it('answer without Redis; registry traffic goes on without the database, and they say what is away', async () => {
    const before = await bundle(urls()[0] ?? '', `to=${NAME}:v1`);
    const url = urls()[0] ?? '';
    const ready = async () => {
      const answer = await fetch(`${url}/readyz`);
      return [answer.status, await answer.json()];
    };
    const plain = async () => {
      const answer = await fetch(`${url}/v2/${NAME}/manifests/v1`, {
        headers: { accept: MEDIA_TYPE.ociManifest },
      });
      assert.equal(answer.status, 200);
      const [layer] = parseManifest(new Uint8Array(await answer.arrayBuffer())).layers;
      const blob = await fetch(`${url}/v2/${NAME}/blobs/${layer?.digest}`);
      return digestOf(new Uint8Array(await blob.arrayBuffer())) === layer?.digest;
    };
    const ok = { directory: 'ok', cache: 'ok' };
    assert.deepEqual(await ready(), [200, { status: 'ok', checks: ok }]);
    await redis.stop();
    assert.deepEqual(await ready(), [200, { status: 'degraded', checks: { ...ok, cache: 'failed' } }]);
    for (const url of urls()) assert.deepEqual((await bundle(url, `to=${NAME}:v1`)).bytes, before.bytes);
    await postgres.stop();
    assert.equal((await fetch(`${url}/starlight/delta?to=${NAME}:v1`)).status, 503);
    assert.ok(await plain());
    const none = { directory: 'failed', cache: 'failed' };
    assert.deepEqual(await ready(), [200, { status: 'degraded', checks: none }]);
    const metrics = await (await fetch(`${url}/metrics`)).text();
    assert.match(metrics, /^starlight_directory_up 0$/m);
    assert.match(metrics, /^starlight_cache_up 0$/m);
    await Promise.all([postgres.start(), redis.start()]);
    await until(
      async () => ((await ready())[1] as { status: string }).status === 'ok' || undefined,
      async () => JSON.stringify(await ready()),
    );
    assert.match(await (await fetch(`${url}/metrics`)).text(), /^starlight_directory_up 1$/m);
    assert.deepEqual((await bundle(urls()[1] ?? '', `to=${NAME}:v1`)).bytes, before.bytes);
  });
});
