import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { run } from '../../scripts/lib/child.ts';
import { freePort } from '../../scripts/lib/free-port.ts';
import { unmountBelow } from '../../scripts/lib/mounts.ts';
import { convertedLayout } from '../support/converted-layout.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { originRequests } from '../support/origin-log.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { type PushedImage, pushBlob, pushImage } from '../support/push-image.ts';
import { ScriptedServer } from '../support/scripted-server.ts';
import { skip } from '../support/skip.ts';
import { file } from '../support/tar.ts';
import { pattern, sha256 } from '../server/mirror/origin.ts';

const MIB = 1 << 20;

const BLOBS = [
  Buffer.from('{"architecture":"amd64","os":"linux"}'),
  pattern(3 * MIB + 1, 1),
  pattern(9 * MIB, 2),
];

async function bytesOf(url: string, headers: Record<string, string> = {}): Promise<Buffer> {
  const response = await fetch(url, { headers });
  assert.ok(response.ok, `${response.status} for ${url}`);
  return Buffer.from(await response.arrayBuffer());
}

/** As containerd pulls: the tag by HEAD, the manifest by digest, the blobs side by side. */
async function pull(
  base: string,
  name: string,
  tag: string,
  { manifest, blobs }: PushedImage,
): Promise<void> {
  const head = await fetch(`${base}/v2/${name}/manifests/${tag}`, {
    method: 'HEAD',
    headers: { Accept: `${MEDIA_TYPE.ociManifest}, */*` },
  });
  const digest = head.headers.get('docker-content-digest');
  assert.equal(digest, sha256(manifest));
  const got = await bytesOf(`${base}/v2/${name}/manifests/${digest}`, { Accept: MEDIA_TYPE.ociManifest });
  assert.ok(got.equals(manifest));
  await Promise.all(
    blobs.map(async (bytes) => {
      const pulled = await bytesOf(`${base}/v2/${name}/blobs/${sha256(bytes)}`);
      assert.ok(pulled.equals(bytes));
    }),
  );
}

function flags(upstream: string, dir: string, ...more: string[]): string[] {
  return ['--upstream-url', upstream, '--mirror-dir', dir, '--mirror-max-bytes', String(512 * MIB), ...more];
}

describe('the mirror cache, in a proxy before a real registry', function () {
  this.timeout(180_000);
  let home: string;
  let directory: string;
  let mirrorDir: string;
  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'starlight-mirror-home-'));
  });
  after(() => rm(home, { recursive: true, force: true }));
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-mirror-'));
    mirrorDir = join(directory, 'mirror');
  });
  afterEach(async () => {
    await unmountBelow(directory);
    await rm(directory, { recursive: true, force: true });
  });

  it('asks the origin once for each part of an image that 50 pull at once', async () => {
    await using origin = await DockerRegistry.start(directory);
    const image = await pushImage(origin.host, 'a/b', 'v1', BLOBS);
    await using proxy = await ProxyProcess.start(home, flags(`http://${origin.host}`, mirrorDir));
    const before = (await originRequests(join(directory, 'registry.log'))).length;
    await Promise.all(Array.from({ length: 50 }, () => pull(proxy.url, 'a/b', 'v1', image)));
    const asked = (await originRequests(join(directory, 'registry.log'))).slice(before);
    assert.deepEqual(
      asked.map(({ method, path }) => `${method} ${path}`).sort(),
      [
        `GET /v2/a/b/manifests/${sha256(image.manifest)}`,
        'HEAD /v2/a/b/manifests/v1',
        ...image.blobs.map((bytes) => `GET /v2/a/b/blobs/${sha256(bytes)}`),
      ].sort(),
    );
    const imageBytes = [image.manifest, ...image.blobs].reduce((sum, bytes) => sum + bytes.length, 0);
    assert.equal(
      asked.reduce((sum, one) => sum + one.sizeBytes, 0),
      imageBytes,
    );
  });

  it('makes delta bundles of what it has kept', async () => {
    await using origin = await DockerRegistry.start(directory);
    const contents = [randomBytes(700_000), randomBytes(400_000)];
    const layers = [contents.map((bytes, at) => file(`f${at}`, bytes))];
    await convertedLayout(join(directory, 'layout'), 'v1', layers);
    await run('skopeo', [
      ...['--insecure-policy', 'copy', '-q', '--preserve-digests', '--dest-tls-verify=false'],
      ...[`oci:${join(directory, 'layout')}:v1`, `docker://${origin.host}/a/b:v1`],
    ]);
    // Without hot bundles, each is made anew.
    const own = flags(`http://${origin.host}`, mirrorDir, '--cache-max-bytes', '0');
    await using proxy = await ProxyProcess.start(home, own);
    const log = join(directory, 'registry.log');
    const blobGets = async () =>
      (await originRequests(log)).filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'));
    const url = `${proxy.url}/starlight/delta?to=a/b:v1`;
    const first = await bytesOf(url);
    const before = await blobGets();
    assert.ok(first.length > 1_000_000 && before.length > 0);
    assert.ok((await bytesOf(url)).equals(first));
    assert.deepEqual((await blobGets()).slice(before.length), []);
  });

  it('serves what it has kept after a restart, for one question each', async () => {
    await using origin = await DockerRegistry.start(directory);
    const image = await pushImage(origin.host, 'a', 'v1', BLOBS);
    for (const expected of [
      ['GET', 'GET', 'GET', 'GET', 'HEAD'],
      ['HEAD', 'HEAD', 'HEAD', 'HEAD'],
    ]) {
      const before = (await originRequests(join(directory, 'registry.log'))).length;
      await using proxy = await ProxyProcess.start(home, flags(`http://${origin.host}`, mirrorDir));
      await pull(proxy.url, 'a', 'v1', image);
      const asked = (await originRequests(join(directory, 'registry.log'))).slice(before);
      assert.deepEqual(asked.map((one) => one.method).sort(), expected);
    }
  });

  it('serves what it has kept while the origin is gone, says so, and counts it', async () => {
    const origin = await DockerRegistry.start(directory);
    const image = await pushImage(origin.host, 'gone', 'v1', BLOBS);
    // Nothing is believed for longer than a moment: all of it is asked for again.
    const short = ['--mirror-tag-ms', '1', '--mirror-grant-ms', '1'];
    await using proxy = await ProxyProcess.start(home, flags(`http://${origin.host}`, mirrorDir, ...short));
    const metric = async (name: string) => {
      const text = (await bytesOf(`${proxy.url}/metrics`)).toString();
      return Number(new RegExp(`^starlight_mirror_${name} (\\d+)$`, 'm').exec(text)?.[1]);
    };
    await pull(proxy.url, 'gone', 'v1', image);
    assert.equal(await metric('stale_total'), 0);
    assert.ok((await metric('used_bytes')) > BLOBS.reduce((sum, bytes) => sum + bytes.length, 0));
    await origin[Symbol.asyncDispose]();
    await pull(proxy.url, 'gone', 'v1', image);
    // The tag, the manifest and each blob.
    assert.equal(await metric('stale_total'), 2 + BLOBS.length);
    const headers = { Accept: `${MEDIA_TYPE.ociManifest}, */*` };
    const tag = await fetch(`${proxy.url}/v2/gone/manifests/v1`, { method: 'HEAD', headers });
    assert.match(tag.headers.get('warning') ?? '', /^110 /);
    assert.ok(!(await fetch(`${proxy.url}/v2/gone/manifests/v2`)).ok);
    assert.ok(!(await fetch(`${proxy.url}/v2/other/blobs/${sha256(BLOBS[1] ?? '')}`)).ok, 'elsewhere');
  });

  it('killed in the middle of a fill, serves nothing of it afterwards but what is right', async () => {
    const bytes = pattern(8 * MIB);
    const digest = sha256(bytes);
    let half = true;
    await using origin = await ScriptedServer.start((request, response) => {
      response.writeHead(200, { 'Content-Length': bytes.length, 'Docker-Content-Digest': digest });
      if (request.method === 'HEAD') response.end();
      else if (half) response.write(bytes.subarray(0, 5 * MIB));
      else response.end(bytes);
    });
    {
      await using proxy = await ProxyProcess.start(home, flags(origin.url, mirrorDir));
      const reader = (await fetch(`${proxy.url}/v2/a/blobs/${digest}`)).body?.getReader();
      for (let seen = 0; seen < 5 * MIB; ) seen += (await reader?.read())?.value?.length ?? 0;
      await proxy.server.stop('SIGKILL');
      await assert.rejects(async () => reader?.read());
    }
    const [store = ''] = (await readdir(mirrorDir)).filter((name) => name !== 'lock');
    assert.equal((await readdir(join(mirrorDir, store, 'partial'))).length, 1);
    half = false;
    await using proxy = await ProxyProcess.start(home, flags(origin.url, mirrorDir));
    assert.equal((await readdir(join(mirrorDir, store, 'partial'))).length, 0);
    assert.ok((await bytesOf(`${proxy.url}/v2/a/blobs/${digest}`)).equals(bytes));
    assert.ok((await bytesOf(`${proxy.url}/v2/a/blobs/${digest}`)).equals(bytes));
    assert.equal(origin.requests.length, 2);
  });

  it('passes through, and says so, when the disk is full', async function () {
    if (process.getuid?.() !== 0) skip(this, 'not root: a small file system cannot be mounted');
    await using origin = await DockerRegistry.start(directory);
    const blobs = [pattern(2 * MIB, 1), pattern(8 * MIB, 2), pattern(MIB, 3)];
    for (const bytes of blobs) await pushBlob(origin.host, 'a', bytes);
    await mkdir(mirrorDir);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=700', 'starlight-test', mirrorDir]);
    await using proxy = await ProxyProcess.start(home, flags(`http://${origin.host}`, mirrorDir));
    for (const bytes of blobs) {
      const pulls = Array.from({ length: 3 }, () => bytesOf(`${proxy.url}/v2/a/blobs/${sha256(bytes)}`));
      for (const pulled of await Promise.all(pulls)) assert.ok(pulled.equals(bytes));
    }
    await proxy.logged(/ENOSPC.*"msg":"the mirror cache cannot use its disk: passing through"/);
    await proxy.server.stop();
  });

  it('refuses a directory that another proxy uses', async () => {
    const upstream = `http://127.0.0.1:${await freePort()}`;
    await using _ = await ProxyProcess.start(home, flags(upstream, mirrorDir));
    await assert.rejects(
      ProxyProcess.start(join(directory, 'two'), flags(upstream, mirrorDir)),
      /cannot be used; give each proxy a directory of its own/,
    );
  });
});

describe('an upstream that is dead', function () {
  this.timeout(180_000);
  let home: string;
  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'starlight-mirror-home-'));
  });
  after(() => rm(home, { recursive: true, force: true }));

  async function assertFast(upstream: string, status: number): Promise<void> {
    // Half of the time that is set without this: a busy machine must not decide.
    const limits = ['--upstream-read-timeout-ms', '1000', '--upstream-connect-timeout-ms', '1000'];
    const [manifest, blob] = [sha256('m'), sha256('b')];
    const notify = JSON.stringify({ reference: 'a:v1' });
    const calls: readonly (readonly [method: string, path: string, body?: string])[] = [
      ...(['GET', 'HEAD'] as const).flatMap((method) =>
        ['manifests/v1', `manifests/${manifest}`, `blobs/${blob}`, 'tags/list', `referrers/${manifest}`].map(
          (path) => [method, `/v2/a/${path}`] as const,
        ),
      ),
      ['POST', '/v2/a/blobs/uploads/'],
      ['POST', `/v2/a/blobs/uploads/?digest=${blob}`, 'b'],
      ['POST', `/v2/a/blobs/uploads/?mount=${blob}&from=b`],
      ['GET', '/v2/a/blobs/uploads/1'],
      ['PATCH', '/v2/a/blobs/uploads/1', 'b'],
      ['PUT', `/v2/a/blobs/uploads/1?digest=${blob}`, 'b'],
      ['DELETE', '/v2/a/blobs/uploads/1'],
      ['PUT', '/v2/a/manifests/v1', '{}'],
      ['DELETE', `/v2/a/manifests/${manifest}`],
      ['DELETE', `/v2/a/blobs/${blob}`],
      ['GET', '/starlight/delta?to=a:v1'],
      ['GET', `/starlight/delta?to=a@${manifest}&from=a@${manifest}`],
      ['POST', '/starlight/notify', notify],
      ['GET', '/v2/'],
    ];
    const circuit = ['--mirror-circuit-failures', String(calls.length), '--mirror-circuit-open-ms', '600000'];
    const settings = flags(upstream, join(home, 'mirror'), ...limits, ...circuit);
    await using proxy = await ProxyProcess.start(home, settings);
    for (const [method, path, body] of calls) {
      const startedMs = performance.now();
      // With credentials, as whoever pushes has them.
      const headers = { authorization: `Basic ${Buffer.from('ann:x').toString('base64')}` };
      const response = await fetch(`${proxy.url}${path}`, {
        ...{ method, headers },
        ...(body === undefined ? {} : { body }),
      });
      const tookMs = performance.now() - startedMs;
      const expected = path.startsWith('/starlight/') ? 503 : status;
      assert.equal(response.status, expected, `${method} ${path}: ${await response.text()}`);
      assert.ok(tookMs < 3_000, `${method} ${path} took ${Math.round(tookMs)} ms`);
    }
    // After so many in a row it is not even asked.
    const left = await fetch(`${proxy.url}/v2/a/manifests/v1`, { method: 'HEAD' });
    assert.equal(left.status, 503);
    assert.ok(Number(left.headers.get('retry-after')) > 0);
    await proxy.logged(/it is left alone for a while/);
  }

  it('since nobody listens, is told within 3 seconds', async () => {
    await assertFast(`http://127.0.0.1:${await freePort()}`, 502);
  });

  it('that takes connections and never answers, is told within 3 seconds', async () => {
    const server = createServer((socket) => socket.on('error', () => undefined));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo; // it listens on TCP
    try {
      await assertFast(`http://127.0.0.1:${port}`, 504);
    } finally {
      server.close();
    }
  });

  it('is asked again after a while, by one', async () => {
    let away = true;
    await using origin = await ScriptedServer.start((_, response) => {
      response.writeHead(away ? 503 : 200).end();
    });
    const circuit = ['--mirror-circuit-failures', '1', '--mirror-circuit-open-ms', '200'];
    await using proxy = await ProxyProcess.start(home, ['--upstream-url', origin.url, ...circuit]);
    assert.equal((await fetch(`${proxy.url}/v2/`)).status, 503);
    away = false;
    while ((await fetch(`${proxy.url}/v2/`)).status !== 200) await delay(20);
    assert.equal(origin.requests.length, 2);
  });
});
