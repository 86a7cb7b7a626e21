import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, type IncomingMessage, request } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import { AuthorisingClient } from '../../../server/upstream/authorising-client.ts';
import { UpstreamClient } from '../../../server/upstream/upstream-client.ts';
import type { UpstreamConfig } from '../../../server/upstream/upstream-config.ts';
import { MAX_ERROR_BODY_BYTES, UpstreamRegistry } from '../../../server/upstream/upstream-registry.ts';
import { LocalApp, type LocalAppOptions } from '../../support/local-app.ts';
import { type Script, ScriptedServer } from '../../support/scripted-server.ts';
import { upstreamConfig } from '../../support/upstream-config.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const BLOB = `/v2/a/blobs/${DIGEST}`;

class Front implements AsyncDisposable {
  readonly upstream: ScriptedServer;
  readonly app: LocalApp;
  readonly #client: UpstreamClient;

  private constructor(upstream: ScriptedServer, app: LocalApp, client: UpstreamClient) {
    this.upstream = upstream;
    this.app = app;
    this.#client = client;
  }

  static async start(
    script: Script,
    config: Partial<UpstreamConfig> = {},
    options: LocalAppOptions = {},
  ): Promise<Front> {
    const upstream = await ScriptedServer.start(script);
    const full = upstreamConfig(upstream.url, config);
    const client = new UpstreamClient(full);
    const app = await LocalApp.start(
      new UpstreamRegistry(full.url, client, new AuthorisingClient(full, client)),
      options,
    );
    return new Front(upstream, app, client);
  }

  get url(): string {
    return this.app.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app[Symbol.asyncDispose]();
    await this.#client.close();
    await this.upstream[Symbol.asyncDispose]();
  }
}

async function ask(
  url: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<IncomingMessage> {
  const sent = request(url, { headers, method });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response;
}

async function text(response: IncomingMessage): Promise<string> {
  let all = '';
  for await (const chunk of response) all += chunk;
  return all;
}

describe('UpstreamRegistry, headers', () => {
  it('passes what belongs to the request, and nothing of the connection or of who forwarded it', async () => {
    await using front = await Front.start((_, response) => void response.end());
    await text(
      await ask(`${front.url}/v2/a/manifests/v1?ns=docker.io&x=%2f`, {
        Accept: 'application/vnd.oci.image.manifest.v1+json, */*',
        Authorization: 'Bearer secret',
        'Accept-Encoding': 'zstd, gzip',
        'If-None-Match': '"e"',
        'User-Agent': 'containerd/1.6',
        Range: 'bytes=1-2',
        Connection: 'close, X-Hop',
        'X-Hop': '1',
        'X-Forwarded-Host': 'evil.test',
        Forwarded: 'host=evil.test',
        Expect: '100-continue',
        TE: 'trailers',
      }),
    );
    const { url, headers } = front.upstream.last;
    assert.equal(url, '/v2/a/manifests/v1?x=%2f');
    const { connection: _, ...rest } = headers;
    assert.deepEqual(rest, {
      host: front.upstream.host,
      accept: 'application/vnd.oci.image.manifest.v1+json, */*',
      authorization: 'Bearer secret',
      'accept-encoding': 'zstd, gzip',
      'if-none-match': '"e"',
      'user-agent': 'containerd/1.6',
      range: 'bytes=1-2',
    });
  });

  it('passes the answer with the case, order and repetition of its headers, and an encoded body as it is', async () => {
    const body = gzipSync('x'.repeat(1000));
    await using front = await Front.start((_, response) => {
      response.writeHead(200, [
        ...[
          'Docker-Content-Digest',
          DIGEST,
          'ETag',
          '"e"',
          'X-a',
          '1',
          'X-a',
          '2',
          'Content-Encoding',
          'gzip',
        ],
        ...['Content-Length', String(body.length), 'Keep-Alive', 'timeout=9', 'Date', 'x'],
      ]);
      response.end(body);
    });
    const response = await ask(`${front.url}${BLOB}`);
    const raw = response.rawHeaders.slice(0, 14);
    assert.deepEqual(raw, [
      ...['Docker-Content-Digest', DIGEST, 'ETag', '"e"', 'X-a', '1', 'X-a', '2', 'Content-Encoding', 'gzip'],
      ...['Content-Length', String(body.length), 'Date', 'x'],
    ]);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    assert.ok(Buffer.concat(chunks).equals(body));
  });

  it('passes 206 and 304 and 416 as they are', async () => {
    for (const [status, headers] of [
      [206, { 'Content-Range': 'bytes 1-2/9', 'Content-Length': '2' }],
      [304, { ETag: '"e"' }],
      [416, { 'Content-Range': 'bytes */9', 'Content-Length': '0' }],
    ] as const) {
      await using front = await Front.start(
        (_, response) => void response.writeHead(status, headers).end(status === 206 ? 'xy' : ''),
      );
      const response = await ask(`${front.url}${BLOB}`, { Range: 'bytes=1-2' });
      assert.equal(response.statusCode, status);
      for (const [name, value] of Object.entries(headers))
        assert.equal(response.headers[name.toLowerCase()], value);
      await text(response);
    }
  });

  it('answers HEAD with the size and no body', async () => {
    await using front = await Front.start(
      (_, response) => void response.writeHead(200, { 'Content-Length': '12345' }).end(),
    );
    const response = await ask(`${front.url}${BLOB}`, {}, 'HEAD');
    assert.equal(response.headers['content-length'], '12345');
    assert.equal(await text(response), '');
    assert.equal(front.upstream.last.method, 'HEAD');
  });

  it('passes challenges and bodies of refusals', async () => {
    const body = '{"errors":[{"code":"UNAUTHORIZED","message":"m"}]}';
    await using front = await Front.start((_, response) => {
      response.writeHead(401, [
        'WWW-Authenticate',
        'Bearer realm="r"',
        'WWW-Authenticate',
        'Basic realm="s"',
      ]);
      response.end(body);
    });
    const response = await ask(`${front.url}/v2/`);
    assert.equal(response.statusCode, 401);
    assert.equal(response.headers['www-authenticate'], 'Bearer realm="r", Basic realm="s"');
    assert.equal(await text(response), body);
  });

  it('replaces an error body that is too long', async () => {
    await using front = await Front.start((_, response) => {
      response.writeHead(503, { 'Retry-After': '7', 'Content-Type': 'text/html' });
      response.end('x'.repeat(MAX_ERROR_BODY_BYTES + 1));
    });
    const response = await ask(`${front.url}${BLOB}`);
    assert.equal(response.statusCode, 503);
    assert.equal(response.headers['retry-after'], '7');
    assert.equal(JSON.parse(await text(response)).errors[0].code, 'UNKNOWN');
  });

  it('says that the upstream is at fault where its error breaks off', async () => {
    await using front = await Front.start((_, response) => {
      response.writeHead(416, { 'Content-Length': '100' });
      response.write('{');
      response.socket?.end();
    });
    assert.equal((await ask(`${front.url}${BLOB}`)).statusCode, 502);
  });

  it('makes Location and Link lead back through the proxy', async () => {
    await using front = await Front.start((incoming, response) => {
      const base = `http://${incoming.headers.host}`;
      response.setHeader(
        'Location',
        `${base}${incoming.url?.startsWith('/v2/a/manifests') ? BLOB : '/v2/a/blobs/uploads/u-1?_state=s%2B'}`,
      );
      response.setHeader('Link', `<${base}/v2/a/tags/list?last=x>; rel="next"`);
      response.writeHead(202).end();
    });
    const upload = await ask(`${front.url}/v2/a/blobs/uploads/`, { 'Content-Length': '0' }, 'POST');
    assert.equal(upload.headers.location, '/v2/a/blobs/uploads/u-1?_state=s%2B');
    assert.equal(upload.headers['link'], '</v2/a/tags/list?last=x>; rel="next"');
    const pushed = await ask(`${front.url}/v2/a/manifests/v1`, { 'Content-Length': '0' }, 'PUT');
    assert.equal(pushed.headers.location, BLOB);
    await text(await ask(`${front.url}${upload.headers.location}&digest=${DIGEST}`, {}, 'GET'));
    assert.equal(front.upstream.last.url, `/v2/a/blobs/uploads/u-1?_state=s%2B&digest=${DIGEST}`);
  });

  it('follows an upload to whatever place the upstream chose, without credentials on another host', async () => {
    await using elsewhere = await ScriptedServer.start((_, response) => void response.writeHead(201).end());
    await using front = await Front.start((_, response) => {
      response.writeHead(202, { Location: `${elsewhere.url}/odd/place?sig=1` }).end();
    });
    const upload = await ask(`${front.url}/v2/a/blobs/uploads/`, { 'Content-Length': '0' }, 'POST');
    const location = upload.headers.location ?? '';
    assert.match(location, /^\/v2\/a\/blobs\/uploads\/~/);
    const put = await fetch(`${front.url}${location}?digest=${DIGEST}`, {
      method: 'PUT',
      body: 'x',
      headers: { Authorization: 'Bearer s' },
    });
    assert.equal(put.status, 201);
    assert.equal(elsewhere.last.url, `/odd/place?sig=1&digest=${DIGEST}`);
    assert.equal(elsewhere.last.headers.authorization, undefined);
    const before = elsewhere.requests.length;
    for (const forged of [
      location.replace(/.$/, (c) => (c === 'A' ? 'B' : 'A')),
      location.replace('/v2/a/', '/v2/b/'),
    ]) {
      assert.equal((await fetch(`${front.url}${forged}`, { method: 'PUT', body: 'x' })).status, 404);
    }
    assert.equal(elsewhere.requests.length, before);
  });
});

describe('UpstreamRegistry, redirects', () => {
  it('sends no client past itself with an upload', async () => {
    await using front = await Front.start((_, response) => {
      response.writeHead(202, { Location: 'ftp://elsewhere.test/put' }).end();
    });
    const upload = await ask(`${front.url}/v2/a/blobs/uploads/`, { 'Content-Length': '0' }, 'POST');
    assert.equal(upload.statusCode, 502);
    assert.equal(upload.headers.location, undefined);
    await text(upload);
  });

  for (const status of [301, 302, 303, 307, 308]) {
    it(`follows ${status} to another host without credentials, Range kept`, async () => {
      await using store = await ScriptedServer.start(
        (_, response) => void response.writeHead(206, { 'Content-Length': '2' }).end('xy'),
      );
      await using front = await Front.start(
        (_, response) => void response.writeHead(status, { Location: `${store.url}/blob?sig=1` }).end(),
      );
      const response = await ask(`${front.url}${BLOB}`, {
        Authorization: 'Bearer secret',
        Cookie: 'c=1',
        'X-Api-Key': 'k',
        Range: 'bytes=1-2',
      });
      assert.equal(response.statusCode, 206);
      assert.equal(await text(response), 'xy');
      assert.equal(store.last.url, '/blob?sig=1');
      assert.equal(store.last.headers.range, 'bytes=1-2');
      assert.equal(store.last.headers.authorization, undefined);
      assert.equal(store.last.headers.cookie, undefined);
      assert.equal(store.last.headers['x-api-key'], undefined);
      assert.equal(front.upstream.last.headers['x-api-key'], 'k');
      assert.equal(store.last.headers.host, store.host);
      assert.equal(front.upstream.last.headers.authorization, 'Bearer secret');
    });
  }

  it('keeps credentials on the same host, and does not give them back after a way through another', async () => {
    await using other = await ScriptedServer.start(
      (_, response) => void response.writeHead(307, { Location: `${front.upstream.url}/v2/back` }).end(),
    );
    const seen: (string | undefined)[] = [];
    await using front = await Front.start((incoming, response) => {
      seen.push(incoming.headers.authorization);
      if (incoming.url === '/v2/back') return void response.end('done');
      response
        .writeHead(307, { Location: incoming.url === '/v2/near' ? `${other.url}/x` : '/v2/near' })
        .end();
    });
    assert.equal(await text(await ask(`${front.url}${BLOB}`, { Authorization: 'Bearer s' })), 'done');
    assert.deepEqual(seen, ['Bearer s', 'Bearer s', undefined]);
    assert.equal(other.last.headers.authorization, undefined);
  });

  for (const [title, location] of [
    ['a loop', BLOB],
    ['another protocol', 'file:///etc/passwd'],
    ['nowhere', 'http://'],
  ] as const) {
    it(`answers 502 to ${title}`, async () => {
      await using front = await Front.start(
        (_, response) => void response.writeHead(302, { Location: location }).end(),
      );
      const response = await ask(`${front.url}${BLOB}`);
      assert.equal(response.statusCode, 502);
      assert.equal(JSON.parse(await text(response)).errors[0].code, 'UNAVAILABLE');
    });
  }
});

describe('UpstreamRegistry, failures', function () {
  this.timeout(60_000);
  it('answers 502 at once where nobody listens', async () => {
    await using front = await Front.start(() => undefined);
    await front.upstream[Symbol.asyncDispose]();
    const response = await ask(`${front.url}/v2/a/manifests/v1`, {}, 'HEAD');
    assert.equal(response.statusCode, 502);
    await text(response);
  });

  it('answers 504 where the header does not come in time', async () => {
    await using front = await Front.start(() => undefined, { headerTimeoutMs: 100 });
    assert.equal((await ask(`${front.url}${BLOB}`)).statusCode, 504);
  });

  it('answers 504 where the upstream is silent', async () => {
    await using front = await Front.start(() => undefined, { readTimeoutMs: 100 });
    assert.equal((await ask(`${front.url}${BLOB}`)).statusCode, 504);
  });

  for (const [method, path, body] of [
    ['POST', 'blobs/uploads/', undefined],
    ['DELETE', `blobs/${DIGEST}`, undefined],
    ['PATCH', 'blobs/uploads/1', 'a chunk'],
    ['PUT', 'manifests/v1', '{}'],
  ] as const) {
    it(`answers 504 where the upstream is silent to ${method} ${path.slice(0, 15)}`, async () => {
      await using front = await Front.start((incoming) => void incoming.resume(), {
        ...{ readTimeoutMs: 200, headerTimeoutMs: 600_000 },
      });
      const answer = await fetch(`${front.url}/v2/a/${path}`, {
        method,
        ...(body === undefined ? {} : { body }),
      });
      assert.equal(answer.status, 504);
    });
  }

  it('waits for a write that takes its time, as long as the upstream answers something else', async () => {
    let pings = 0;
    let answer: () => void = () => undefined;
    const script: Script = (incoming, response) => {
      if (incoming.method === 'DELETE') {
        answer = () => response.writeHead(202).end();
        return;
      }
      assert.deepEqual([incoming.url, incoming.headers.authorization], ['/v2/', undefined]);
      response.writeHead(401).end();
      pings += 1;
      if (pings === 3) answer();
    };
    await using front = await Front.start(script, { readTimeoutMs: 3_000, headerTimeoutMs: 600_000 });
    const headers = { authorization: 'Bearer x' };
    const done = await fetch(`${front.url}${BLOB}`, { method: 'DELETE', headers });
    assert.deepEqual([done.status, pings], [202, 3]);
  });

  it('waits for an upstream that sends something else meanwhile', async () => {
    let answer: () => void = () => undefined;
    await using front = await Front.start(
      (incoming, response) => {
        if (incoming.url?.endsWith('busy') === true) {
          response.writeHead(200);
          const timer = setInterval(() => response.write('x'), 10);
          response.once('close', () => clearInterval(timer));
        } else answer = () => response.end('late');
      },
      { readTimeoutMs: 400, headerTimeoutMs: 60_000 },
    );
    const busy = await ask(`${front.url}/v2/a/manifests/busy`);
    const asked = ask(`${front.url}${BLOB}`);
    // As long as the time-out, several times over, by what is heard.
    let seen = 0;
    for await (const chunk of busy) {
      seen += String(chunk).length;
      if (seen > 200) break;
    }
    answer();
    assert.equal(await text(await asked), 'late');
  });

  it('answers 502 to what is not HTTP', async () => {
    const server = createTcpServer((socket) => void socket.resume().end('SSH-2.0-x\r\n'));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    await using front = await Front.start(() => undefined, { url: `http://127.0.0.1:${address.port}` });
    assert.equal((await ask(`${front.url}${BLOB}`)).statusCode, 502);
    server.close();
  });

  const CUTS: readonly (readonly [
    string,
    Partial<UpstreamConfig>,
    (response: { destroy(): unknown }) => void,
  ])[] = [
    ['dies', {}, (response) => void response.destroy()],
    ['stands still', { idleTimeoutMs: 200 }, () => undefined],
  ];
  for (const [title, config, act] of CUTS) {
    it(`cuts the client's connection when the upstream ${title} in mid-body`, async () => {
      await using front = await Front.start((_, response) => {
        response.writeHead(200, { 'Content-Length': '1000' });
        response.write('x'.repeat(500), () => act(response));
      }, config);
      const response = await ask(`${front.url}${BLOB}`);
      assert.equal(response.statusCode, 200);
      await assert.rejects(text(response), /aborted/);
    });
  }

  it('repeats a read whose kept connection the upstream had just closed, and once only', async () => {
    let count = 0;
    await using front = await Front.start((incoming, response) => {
      count += 1;
      if (count === 1 || incoming.url?.includes('always')) return void response.destroy();
      response.end('ok');
    });
    assert.equal(await text(await ask(`${front.url}${BLOB}`)), 'ok');
    assert.equal(count, 2);
    assert.equal((await ask(`${front.url}/v2/always/manifests/v1`)).statusCode, 502);
    assert.equal(count, 4);
    assert.equal((await ask(`${front.url}/v2/always/manifests/v1`, {}, 'DELETE')).statusCode, 502);
    assert.equal(count, 5);
  });

  it('aborts the upstream request when the client goes away in mid-body', async () => {
    const closed = Promise.withResolvers<void>();
    await using front = await Front.start((_, response) => {
      response.once('close', closed.resolve);
      response.writeHead(200, { 'Content-Length': '1000000' });
      response.write('x');
    });
    const asked = get(`${front.url}${BLOB}`);
    await once(asked, 'response');
    asked.on('error', () => undefined);
    asked.destroy();
    await closed.promise;
  });

  it('aborts the upstream request when the client goes away before the answer', async () => {
    const closed = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    await using front = await Front.start((_, response) => {
      response.once('close', closed.resolve);
      arrived.resolve();
    });
    const asked = get(`${front.url}${BLOB}`);
    asked.on('error', () => undefined);
    await arrived.promise;
    asked.destroy();
    await closed.promise;
  });

  it('aborts an upload upstream when the client goes away', async () => {
    const cut = Promise.withResolvers<void>();
    await using front = await Front.start((incoming) => {
      incoming.resume();
      incoming.once('data', () => upload.destroy());
      incoming.once('close', () => (incoming.complete ? cut.reject(new Error('complete')) : cut.resolve()));
    });
    const upload = request(`${front.url}/v2/a/blobs/uploads/u`, { method: 'PATCH' });
    upload.on('error', () => undefined);
    upload.write('x'.repeat(100_000));
    await cut.promise;
  });

  it('lets the client see an early refusal of an upload', async () => {
    await using front = await Front.start((incoming, response) => {
      incoming.resume(); // else the system itself may drop the answer with the connection
      response.writeHead(413).end('{"errors":[{"code":"SIZE_INVALID","message":"m"}]}');
    });
    const upload = request(`${front.url}/v2/a/blobs/uploads/u`, {
      method: 'PATCH',
      headers: { 'Content-Length': '50000000' },
    });
    upload.on('error', () => undefined);
    upload.write(Buffer.alloc(1_000_000));
    const [response] = (await once(upload, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 413);
    assert.match(await text(response), /SIZE_INVALID/);
    upload.destroy();
  });

  it('streams an upload without a length, byte for byte', async () => {
    let received = '';
    await using front = await Front.start(async (incoming, response) => {
      for await (const chunk of incoming) received += chunk;
      response.writeHead(202, { Location: '/v2/a/blobs/uploads/u' }).end();
    });
    const upload = request(`${front.url}/v2/a/blobs/uploads/u`, { method: 'PATCH' });
    for (let at = 0; at < 50; at += 1) upload.write(`${at}`.padEnd(1000, '.'));
    upload.end();
    const [response] = (await once(upload, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 202);
    assert.equal(received, Array.from({ length: 50 }, (_, at) => `${at}`.padEnd(1000, '.')).join(''));
    assert.equal(front.upstream.last.headers['transfer-encoding'], 'chunked');
  });
});

describe('UpstreamRegistry, namespaces and logs', () => {
  const ROWS: readonly (readonly [string | undefined, string, number, string | undefined])[] = [
    [undefined, '', 200, undefined],
    [undefined, '?ns=docker.io', 200, 'docker.io'],
    ['docker.io', '?ns=docker.io', 200, 'docker.io'],
    ['docker.io', '', 200, 'docker.io'],
    ['docker.io', '?ns=ghcr.io', 404, undefined],
    [undefined, '?ns=a%20b', 400, undefined],
    [undefined, '?ns=', 400, undefined],
  ];
  for (const [namespace, query, status, told] of ROWS) {
    it(`answers ${query || 'no ns'} by ${status} where ${namespace ?? 'any namespace'} is served`, async () => {
      await using front = await Front.start(
        (_, response) => void response.end('{}'),
        {},
        namespace === undefined ? {} : { namespace },
      );
      const response = await ask(`${front.url}/v2/a/manifests/v1${query}`);
      assert.equal(response.statusCode, status);
      assert.equal(response.headers['oci-namespace'], told);
      await text(response);
    });
  }

  it('logs neither credentials nor the state of uploads', async () => {
    const lines: string[] = [];
    await using front = await Front.start(
      (_, response) => void response.writeHead(500).end('{}'),
      {},
      { onLog: (line) => lines.push(line) },
    );
    await text(
      await ask(`${front.url}/v2/a/blobs/uploads/u?_state=topsecret&digest=${DIGEST}`, {
        Authorization: 'Bearer topsecret',
      }),
    );
    while (lines.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(!lines.join('').includes('topsecret'), lines.join(''));
    assert.match(lines.join(''), /_state=\[redacted\]&digest=sha256/);
  });

  it('keeps the connection of a client that is answered an error', async () => {
    await using front = await Front.start((_, response) => void response.writeHead(404).end('{}'));
    const { port } = new URL(front.url);
    const socket = connect(Number(port), '127.0.0.1');
    const one = `GET ${BLOB} HTTP/1.1\r\nHost: x\r\n\r\n`;
    socket.write(one);
    await once(socket, 'data');
    socket.write(one.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    let all = '';
    for await (const chunk of socket) all += chunk;
    assert.match(all, /^HTTP\/1.1 404/);
  });
});
