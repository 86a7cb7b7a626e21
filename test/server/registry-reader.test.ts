import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ReaderBench, registryReaderSuite } from '../../conformance/registry-reader/suite.ts';
import { RegistryReadError } from '../../extensions/starlight/registry-reader.ts';
import { type Digest, digestHex, digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { EmbeddedReader } from '../../server/registry/embedded/embedded-reader.ts';
import { EmbeddedRegistry } from '../../server/registry/embedded/embedded-registry.ts';
import type { Registry } from '../../server/registry/registry.ts';
import { RegistryError } from '../../server/registry/registry-error.ts';
import { Mirrors } from '../../server/mirror/mirrors.ts';
import { AuthorisingClient } from '../../server/upstream/authorising-client.ts';
import { UpstreamClient } from '../../server/upstream/upstream-client.ts';
import { UpstreamReader } from '../../server/upstream/upstream-reader.ts';
import { UpstreamRegistry } from '../../server/upstream/upstream-registry.ts';
import { LocalApp } from '../support/local-app.ts';
import { type Script, ScriptedServer } from '../support/scripted-server.ts';
import { upstreamConfig } from '../support/upstream-config.ts';

const NAME = 'team/app';
/** Far more than the buffers of a socket hold. */
const BLOB_BYTES = 8 << 20;
const HOUR_MS = 3_600_000;
const MIRROR = {
  grantMs: HOUR_MS,
  tagMs: HOUR_MS,
  staleMs: HOUR_MS,
  circuitFailures: 5,
  circuitOpenMs: HOUR_MS,
};

async function fill(
  registry: EmbeddedRegistry,
): Promise<Omit<ReaderBench, 'reader' | typeof Symbol.asyncDispose>> {
  const signal = new AbortController().signal;
  const files = registry.files(NAME as Parameters<EmbeddedRegistry['files']>[0]); // fits the grammar
  const put = async (bytes: Uint8Array) => {
    const session = await registry.uploads.start(files);
    const digest = digestOf(bytes);
    await registry.uploads.finish(files, session, digest, one(bytes), {}, signal);
    return { mediaType: MEDIA_TYPE.ociConfig, digest, size: bytes.byteLength };
  };
  const bytes = randomBytes(BLOB_BYTES);
  const layer = { ...(await put(bytes)), mediaType: MEDIA_TYPE.ociLayer };
  const config = await put(Buffer.from('{}'));
  const base = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config };
  const manifest = Buffer.from(JSON.stringify({ ...base, layers: [layer] }));
  const digest = digestOf(manifest);
  await registry.manifests.put(files, 'v1', [], MEDIA_TYPE.ociManifest, manifest);
  const subject = { mediaType: MEDIA_TYPE.ociManifest, digest, size: manifest.byteLength };
  const referrer = async (artifactType: string) => {
    const document = Buffer.from(JSON.stringify({ ...base, artifactType, layers: [], subject }));
    return (await registry.manifests.put(files, digestOf(document), [], MEDIA_TYPE.ociManifest, document))
      .digest;
  };
  const index = {
    schemaVersion: 2,
    manifests: [
      { ...subject, digest: await referrer('x/one'), artifactType: 'x/one' },
      { ...subject, digest: await referrer('x/two'), artifactType: 'x/two' },
    ],
  };
  const fallbackTag = `sha256-${digestHex(digest)}`;
  await registry.manifests.put(
    files,
    fallbackTag,
    [],
    MEDIA_TYPE.ociIndex,
    Buffer.from(JSON.stringify(index)),
  );
  return {
    name: NAME,
    manifest: { digest, mediaType: MEDIA_TYPE.ociManifest, bytes: manifest },
    blob: { digest: layer.digest, bytes },
    referrers: { one: index.manifests[0]?.digest ?? digest, two: index.manifests[1]?.digest ?? digest },
  };
}

async function* one(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function embeddedBench(): Promise<ReaderBench> {
  const dir = await mkdtemp(join(tmpdir(), 'starlight-reader-'));
  const registry = new EmbeddedRegistry(dir, Date.now);
  return {
    ...(await fill(registry)),
    reader: new EmbeddedReader(registry),
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

/** @param mirrored with a cache of blobs before the upstream. */
async function upstreamBench(wrap: (registry: Registry) => Registry, mirrored = false): Promise<ReaderBench> {
  const dir = await mkdtemp(join(tmpdir(), 'starlight-reader-'));
  const registry = new EmbeddedRegistry(dir, Date.now);
  const held = await fill(registry);
  const app = await LocalApp.start(wrap(registry));
  const config = upstreamConfig(app.url);
  const client = new UpstreamClient(config);
  const authorised = new AuthorisingClient(config, client);
  const mirrors = await Mirrors.open(
    { ...MIRROR, dir: join(dir, 'mirror'), maxBytes: mirrored ? 4 * BLOB_BYTES : 0 },
    { warn: (_, message) => assert.fail(message) },
  );
  const { guarded, kept } = await mirrors.before(
    'one',
    app.url,
    new UpstreamRegistry(app.url, client, authorised),
  );
  return {
    ...held,
    reader: new UpstreamReader({ asked: guarded, kept }),
    [Symbol.asyncDispose]: async () => {
      await mirrors.close();
      await client.close();
      await app[Symbol.asyncDispose]();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** As distribution 2.8 and 3.1 are. */
function withoutReferrersApi(registry: Registry): Registry {
  return {
    answer: (request) => {
      if (request.endpoint.kind === 'referrers') throw new RegistryError({ kind: 'endpoint-unknown' });
      return registry.answer(request);
    },
  };
}

/** Pages of one referrer each, whatever the client asks. */
function inPages(registry: Registry): Registry {
  return {
    answer: (request) => {
      if (request.endpoint.kind === 'referrers') request.query.set('n', '1');
      return registry.answer(request);
    },
  };
}

registryReaderSuite('embedded', embeddedBench);
registryReaderSuite('upstream', () => upstreamBench((registry) => registry));
registryReaderSuite('upstream behind a cache', () => upstreamBench((registry) => registry, true));
registryReaderSuite('upstream without the referrers API', () => upstreamBench(withoutReferrersApi));
registryReaderSuite('upstream with short pages', () => upstreamBench(inPages));

describe('UpstreamReader', () => {
  const signal = new AbortController().signal;
  const DIGEST = `sha256:${'a'.repeat(64)}` as Digest;

  async function withReader<T>(
    script: Script,
    use: (reader: UpstreamReader, upstream: ScriptedServer) => Promise<T>,
  ): Promise<T> {
    await using upstream = await ScriptedServer.start(script);
    const config = upstreamConfig(upstream.url, { readTimeoutMs: 200, idleTimeoutMs: 200 });
    const client = new UpstreamClient(config);
    try {
      const authorised = new AuthorisingClient(config, client);
      const registry = new UpstreamRegistry(upstream.url, client, authorised);
      return await use(new UpstreamReader({ asked: registry, kept: registry }), upstream);
    } finally {
      await client.close();
    }
  }

  it("presents the caller's credentials and accepts every kind of manifest", async () => {
    await withReader(
      (_, response) => void response.end('{}'),
      async (reader, upstream) => {
        await reader.manifest('a', 'v1', 'Basic xyz', signal);
        assert.equal(upstream.last.headers.authorization, 'Basic xyz');
        assert.match(upstream.last.headers.accept ?? '', /oci\.image\.index.*manifest\.list/);
        await reader.manifest('a', 'v1', undefined, signal);
        assert.equal(upstream.last.headers.authorization, undefined);
      },
    );
  });

  const FAULTS: readonly (readonly [string, Script, object])[] = [
    [
      '401',
      (_, r) => void r.writeHead(401, ['WWW-Authenticate', 'Bearer realm="r"']).end(),
      { kind: 'unauthorized', challenges: ['Bearer realm="r"'] },
    ],
    ['403', (_, r) => void r.writeHead(403).end(), { kind: 'denied' }],
    [
      '429',
      (_, r) => void r.writeHead(429, { 'Retry-After': '9' }).end(),
      { kind: 'unavailable', status: 429, retryAfter: '9' },
    ],
    ['503', (_, r) => void r.writeHead(503).end(), { kind: 'unavailable', status: 503 }],
    ['400', (_, r) => void r.writeHead(400).end(), { kind: 'protocol' }],
    ['silence', () => undefined, { kind: 'unavailable' }],
    ['a cut', (_, r) => void r.destroy(), { kind: 'unavailable' }],
    ['a document too long', (_, r) => void r.end(Buffer.alloc((4 << 20) + 1)), { kind: 'protocol' }],
    [
      'a manifest of another digest',
      (_, r) => void r.setHeader('Docker-Content-Digest', DIGEST).end('{}'),
      { kind: 'protocol' },
    ],
    [
      'half of a document',
      (_, r) => void r.writeHead(200, { 'Content-Length': '9' }).write('{}', () => r.destroy()),
      { kind: 'unavailable' },
    ],
    ['an endless redirect', (_, r) => void r.writeHead(302, { Location: '/' }).end(), { kind: 'protocol' }],
  ];
  for (const [title, script, fault] of FAULTS) {
    it(`throws ${JSON.stringify(fault).slice(0, 60)} for ${title}`, async () => {
      await withReader(script, async (reader) => {
        await assert.rejects(reader.manifest('a', 'v1', undefined, signal), (error) => {
          assert.ok(error instanceof RegistryReadError, String(error));
          assert.deepEqual(error.fault, fault);
          return true;
        });
      });
    });
  }

  const RANGE = { offset: 2, length: 4 };
  const BAD_RANGES: readonly (readonly [string, Script])[] = [
    ['the whole', (_, r) => void r.end('0123456789')],
    ['another range', (_, r) => void r.writeHead(206, { 'Content-Range': 'bytes 0-3/10' }).end('0123')],
    ['no Content-Range', (_, r) => void r.writeHead(206).end('0123')],
    ['fewer bytes', (_, r) => void r.writeHead(206, { 'Content-Range': 'bytes 2-5/10' }).end('23')],
    ['more bytes', (_, r) => void r.writeHead(206, { 'Content-Range': 'bytes 2-5/10' }).end('234567')],
  ];
  for (const [title, script] of BAD_RANGES) {
    it(`refuses ${title} where a range was asked for`, async () => {
      await withReader(script, async (reader) => {
        await assert.rejects(
          async () => {
            const blob = await reader.blob('a', DIGEST, RANGE, undefined, signal);
            await Array.fromAsync(blob?.bytes ?? []);
          },
          (error) => error instanceof RegistryReadError && error.fault.kind === 'protocol',
        );
      });
    });
  }

  describe('behind what spares the upstream', () => {
    async function withMirror(
      script: Script,
      use: (reader: UpstreamReader, upstream: ScriptedServer) => Promise<void>,
    ): Promise<void> {
      const dir = await mkdtemp(join(tmpdir(), 'starlight-reader-'));
      await using upstream = await ScriptedServer.start(script);
      const config = upstreamConfig(upstream.url);
      const client = new UpstreamClient(config);
      const mirrors = await Mirrors.open({ ...MIRROR, dir, maxBytes: 1 << 20 }, { warn: () => undefined });
      try {
        const registry = new UpstreamRegistry(upstream.url, client, new AuthorisingClient(config, client));
        const { guarded, kept } = await mirrors.before('one', upstream.url, registry);
        await use(new UpstreamReader({ asked: guarded, kept }), upstream);
      } finally {
        await mirrors.close();
        await client.close();
        await rm(dir, { recursive: true, force: true });
      }
    }

    it('does not ask again before the time that the upstream has named', async () => {
      await withMirror(
        (_, r) => void r.writeHead(429, { 'Retry-After': '3000' }).end(),
        async (reader, upstream) => {
          for (const reference of ['v1', 'v1', DIGEST]) {
            await assert.rejects(reader.manifest('a', reference, undefined, signal), (error) => {
              assert.ok(error instanceof RegistryReadError && error.fault.kind === 'unavailable');
              assert.equal(error.fault.status, 429);
              assert.ok(Number(error.fault.retryAfter) > 2000);
              return true;
            });
          }
          await assert.rejects(
            reader.referrers('a', DIGEST, undefined, undefined, signal),
            RegistryReadError,
          );
          assert.equal(upstream.requests.length, 1);
        },
      );
    });

    it('asks each time what a tag is, and once for what a digest names', async () => {
      const digest = digestOf('{}');
      await withMirror(
        (_, r) => void r.writeHead(200, { 'Content-Length': '2', 'Docker-Content-Digest': digest }).end('{}'),
        async (reader, upstream) => {
          for (const reference of ['v1', digest, 'v1', digest]) {
            assert.equal((await reader.manifest('a', reference, undefined, signal))?.digest, digest);
          }
          const asked = upstream.requests.map(({ method, url }) => `${method} ${url?.slice(-8)}`);
          const [tag, once] = ['GET fests/v1', `GET ${digest.slice(-8)}`];
          assert.deepEqual(asked, [tag, once, tag]);
          // To whom the upstream has not shown it, it is not shown.
          await reader.manifest('a', digest, 'Basic other', signal);
          assert.equal(upstream.last.headers.authorization, 'Basic other');
        },
      );
    });
  });

  it('throws where a blob breaks off', async () => {
    await withReader(
      (_, r) => void r.writeHead(200, { 'Content-Length': '9' }).write('x', () => r.destroy()),
      async (reader) => {
        const blob = await reader.blob('a', DIGEST, undefined, undefined, signal);
        await assert.rejects(
          Array.fromAsync(blob?.bytes ?? []),
          (error) => error instanceof RegistryReadError && error.fault.kind === 'unavailable',
        );
      },
    );
  });
});
