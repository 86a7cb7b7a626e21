import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CredentialSource } from '../../../schemas/registry-auth/credentials.ts';
import { ImageError } from '../../../schemas/image/image-error.ts';
import { RegistryClient, retryAfterMs } from '../../../schemas/image/registry-client.ts';
import { RegistrySink } from '../../../schemas/image/registry-sink.ts';
import { RegistrySource } from '../../../schemas/image/registry-source.ts';
import { readAll } from '../../../schemas/image/verify-stream.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { parseReference } from '../../../schemas/oci/reference.ts';
import type { Descriptor } from '../../../schemas/oci/types.ts';

const signal = new AbortController().signal;
const login: CredentialSource = () => Promise.resolve({ username: 'me', password: 'secret' });
const nobody: CredentialSource = () => Promise.resolve(undefined);
const CONTENT = Buffer.alloc(300_000, 'blob ');
const BLOB: Descriptor = {
  mediaType: MEDIA_TYPE.ociLayer,
  digest: digestOf(CONTENT),
  size: CONTENT.length,
};

type Handler = (request: IncomingMessage, response: ServerResponse, attempt: number) => void;

/** A registry that answers as a test wants it, and remembers what it was asked. */
class FakeRegistry implements AsyncDisposable {
  readonly asked: readonly string[];
  readonly host: string;
  readonly #server: Server;
  readonly #clients: RegistryClient[] = [];

  private constructor(server: Server, asked: string[]) {
    this.#server = server;
    this.asked = asked;
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`; // listens on TCP
  }

  static async start(handler: Handler): Promise<FakeRegistry> {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      request.resume();
      request.once('end', () => handler(request, response, asked.length));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new FakeRegistry(server, asked);
  }

  client(credentials: CredentialSource): RegistryClient {
    const client = new RegistryClient(this.host, { credentials, insecure: false });
    this.#clients.push(client);
    return client;
  }

  source(credentials: CredentialSource = nobody): RegistrySource {
    return new RegistrySource(this.client(credentials), parseReference(`${this.host}/a/b:v1`), 'source');
  }

  sink(from?: string): RegistrySink {
    const place = from === undefined ? undefined : { host: this.host, repository: from };
    return new RegistrySink(this.client(nobody), parseReference(`${this.host}/a/b:v1`), 'sink', place);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client[Symbol.asyncDispose]()));
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

describe('retryAfterMs()', () => {
  const now = Date.UTC(2026, 0, 1);
  const rows: readonly (readonly [string | undefined, number | undefined])[] = [
    ['3', 3_000],
    ['0', 0],
    ['Thu, 01 Jan 2026 00:00:05 GMT', 5_000],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    [undefined, undefined],
    ['soon', undefined],
    ['-1 minute', undefined],
  ];
  for (const [header, expected] of rows) {
    it(String(header), () => assert.equal(retryAfterMs(header, now), expected));
  }
});

describe('RegistrySource', () => {
  it('fetches a token for the scope, with the login, and asks again with it', async () => {
    await using registry = await FakeRegistry.start((request, response) => {
      if (request.url?.startsWith('/token')) {
        assert.equal(request.headers.authorization, `Basic ${Buffer.from('me:secret').toString('base64')}`);
        response.end(JSON.stringify({ token: 'the-token' }));
      } else if (request.headers.authorization === 'Bearer the-token') {
        response.end(CONTENT);
      } else {
        response.statusCode = 401;
        const realm = `http://${request.headers.host}/token`;
        response.setHeader('www-authenticate', `Bearer realm="${realm}",service="fake",scope="x"`);
        response.end();
      }
    });
    const source = registry.source(login);
    const read = await readAll(await source.blob(BLOB, signal), 1e6, 'blob');
    assert.deepEqual(read, CONTENT);
    assert.equal(registry.asked[1], 'GET /token?service=fake&scope=repository%3Aa%2Fb%3Apull');
    await readAll(await source.blob(BLOB, signal), 1e6, 'blob');
    assert.equal(registry.asked.length, 4, 'the token is used again');
  });

  it('takes a blob up where it broke off', async () => {
    await using registry = await FakeRegistry.start((request, response, attempt) => {
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      if (from > 0) response.writeHead(206, { 'content-range': `bytes ${from}-/${CONTENT.length}` });
      if (attempt >= 4) response.end(CONTENT.subarray(from));
      else response.write(CONTENT.subarray(from, from + 60_000), () => response.destroy());
    });
    const read = await readAll(await registry.source().blob(BLOB, signal), 1e6, 'blob');
    assert.deepEqual(read, CONTENT);
    assert.equal(registry.asked.length, 4);
  });

  it('follows a redirect without taking the credentials along', async () => {
    let seen: string | undefined = 'not asked';
    await using storage = await FakeRegistry.start((request, response) => {
      seen = request.headers.authorization;
      response.end(CONTENT);
    });
    await using registry = await FakeRegistry.start((request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      } else {
        response.writeHead(307, { location: `http://${storage.host}/blob` }).end();
      }
    });
    assert.deepEqual(await readAll(await registry.source(login).blob(BLOB, signal), 1e6, 'blob'), CONTENT);
    assert.equal(seen, undefined);
  });

  it('waits as it is told, and tries again', async () => {
    await using registry = await FakeRegistry.start((_, response, attempt) => {
      if (attempt === 1) response.writeHead(429, { 'retry-after': '0' }).end();
      else if (attempt === 2) response.writeHead(503, { 'retry-after': '0' }).end();
      else response.end(CONTENT);
    });
    assert.deepEqual(await readAll(await registry.source().blob(BLOB, signal), 1e6, 'blob'), CONTENT);
  });

  const bad: readonly (readonly [string, Handler, ImageError['kind']])[] = [
    ['other bytes', (_, response) => response.end(Buffer.alloc(CONTENT.length)), 'digest-mismatch'],
    ['too many bytes', (_, response) => response.end(Buffer.concat([CONTENT, CONTENT])), 'digest-mismatch'],
    ['too few bytes', (_, response) => response.end(CONTENT.subarray(1)), 'digest-mismatch'],
    ['404', (_, response) => response.writeHead(404).end('{}'), 'not-found'],
    ['403', (_, response) => response.writeHead(403).end(), 'denied'],
    ['401 without a challenge', (_, response) => response.writeHead(401).end(), 'unauthorized'],
    [
      '401, and no login to answer with',
      (_, response) => response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
      'unauthorized',
    ],
    [
      '401 with a realm that is none',
      (_, response) => response.writeHead(401, { 'www-authenticate': 'Bearer realm="x"' }).end(),
      'unauthorized',
    ],
    ['418', (_, response) => response.writeHead(418).end('teapot'), 'refused'],
    [
      'redirects in a circle',
      (_, response) => response.writeHead(307, { location: '/again' }).end(),
      'denied',
    ],
    ['500 for ever', (_, response) => response.writeHead(500, { 'retry-after': '0' }).end(), 'refused'],
  ];
  for (const [name, handler, kind] of bad) {
    it(`fails on ${name}`, async () => {
      await using registry = await FakeRegistry.start(handler);
      const read = async (): Promise<void> => {
        for await (const _ of await registry.source().blob(BLOB, signal)) {
          // only the end counts
        }
      };
      await assert.rejects(read, (error) => {
        assert.ok(error instanceof ImageError, String(error));
        assert.equal(error.kind, kind, error.message);
        return true;
      });
    });
  }

  it('refuses a manifest that is not what its digest says', async () => {
    await using registry = await FakeRegistry.start((_, response) => response.end('{}'));
    const below = { ...BLOB, mediaType: MEDIA_TYPE.ociManifest };
    await assert.rejects(registry.source().manifest(signal, below), { kind: 'digest-mismatch' });
  });
});

describe('RegistrySink', () => {
  it('sends nothing that is there', async () => {
    await using registry = await FakeRegistry.start((_, response) => response.writeHead(200).end());
    assert.equal(await registry.sink().putBlob(BLOB, () => assert.fail('read'), signal), 'present');
  });

  it('has a blob mounted from the repository that it is read from', async () => {
    await using registry = await FakeRegistry.start((request, response) => {
      response.writeHead(request.method === 'HEAD' ? 404 : 201).end();
    });
    const put = await registry.sink('from/here').putBlob(BLOB, () => assert.fail('read'), signal);
    assert.equal(put, 'mounted');
    const query = `mount=${encodeURIComponent(BLOB.digest)}&from=from%2Fhere`;
    assert.equal(registry.asked[1], `POST /v2/a/b/blobs/uploads/?${query}`);
  });

  const losses: readonly (readonly [string, (response: ServerResponse) => void])[] = [
    ['is lost', (response) => response.writeHead(404).end()],
    ['breaks off', (response) => response.destroy()],
    ['fails at the registry', (response) => response.writeHead(500).end()],
  ];
  for (const [name, lose] of losses) {
    it(`begins anew when an upload ${name}`, async () => {
      let uploads = 0;
      await using registry = await FakeRegistry.start((request, response) => {
        if (request.method === 'HEAD') response.writeHead(404).end();
        else if (request.method === 'POST') {
          uploads += 1;
          response.writeHead(202, { location: `/up?state=${uploads}` }).end();
        } else if (uploads === 1) lose(response);
        else response.writeHead(201).end();
      });
      assert.equal(await registry.sink().putBlob(BLOB, () => once(CONTENT), signal), 'sent');
      assert.deepEqual(
        registry.asked.filter((one) => one.startsWith('PUT')),
        [1, 2].map((n) => `PUT /up?state=${n}&digest=${encodeURIComponent(BLOB.digest)}`),
      );
    });
  }

  const artifact = {
    mediaType: MEDIA_TYPE.ociManifest,
    digest: digestOf('artifact'),
    bytes: Buffer.from('artifact'),
  };

  it('leaves the fallback tag alone where the registry knows referrers', async () => {
    await using registry = await FakeRegistry.start((_, response) =>
      response.writeHead(201, { 'oci-subject': BLOB.digest }).end(),
    );
    await registry.sink().putReferrer(artifact, BLOB.digest, MEDIA_TYPE.starlightToc, signal);
    assert.equal(registry.asked.length, 1);
  });

  it('writes the fallback tag where it does not', async () => {
    await using registry = await FakeRegistry.start((request, response) =>
      response.writeHead(request.method === 'GET' ? 404 : 201).end(),
    );
    await registry.sink().putReferrer(artifact, BLOB.digest, MEDIA_TYPE.starlightToc, signal);
    const tag = BLOB.digest.replace(':', '-');
    assert.deepEqual(registry.asked.slice(1), [
      `GET /v2/a/b/manifests/${tag}`,
      `PUT /v2/a/b/manifests/${tag}`,
    ]);
  });

  it('says what the registry said when it refuses a manifest', async () => {
    await using registry = await FakeRegistry.start((_, response) =>
      response.writeHead(400).end('{"errors":[{"code":"MANIFEST_INVALID","message":"no good"}]}'),
    );
    await assert.rejects(registry.sink().publish(artifact, signal), /MANIFEST_INVALID no good/);
  });
});
