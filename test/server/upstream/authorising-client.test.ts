import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { basicAuthorization } from '../../../schemas/registry-auth/credentials.ts';
import { RegistryError } from '../../../server/registry/registry-error.ts';
import { AuthorisingClient } from '../../../server/upstream/authorising-client.ts';
import { discard, UpstreamClient } from '../../../server/upstream/upstream-client.ts';
import type { UpstreamConfig } from '../../../server/upstream/upstream-config.ts';
import { type Script, ScriptedServer } from '../../support/scripted-server.ts';
import { upstreamConfig } from '../../support/upstream-config.ts';

const signal = new AbortController().signal;
const ROBOT = basicAuthorization({ username: 'robot', password: 'secret' });
const ALICE = basicAuthorization({ username: 'alice', password: 'other' });

describe('AuthorisingClient', function () {
  this.timeout(60_000);
  let directory: string;
  let own: Partial<UpstreamConfig>;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'starlight-authorising-'));
    const passwordFile = join(directory, 'password');
    await writeFile(passwordFile, 'secret\n');
    own = { username: 'robot', passwordFile };
  });
  after(() => rm(directory, { recursive: true }));

  /** An upstream, what it was presented, and a client of it. */
  class Bench implements AsyncDisposable {
    readonly server: ScriptedServer;
    readonly #client: UpstreamClient;
    readonly #authorised: AuthorisingClient;

    constructor(server: ScriptedServer, settings: Partial<UpstreamConfig>) {
      const config = upstreamConfig(server.url, settings);
      this.server = server;
      this.#client = new UpstreamClient(config);
      this.#authorised = new AuthorisingClient(config, this.#client);
    }

    static async start(script: Script, settings: Partial<UpstreamConfig>): Promise<Bench> {
      return new Bench(await ScriptedServer.start(script), settings);
    }

    async send(path: string, authorization?: string, body?: string): Promise<number> {
      const response = await this.#authorised.send(
        {
          method: body === undefined ? 'GET' : 'PUT',
          url: new URL(path, this.server.url),
          headers:
            authorization === undefined
              ? []
              : [
                  ['authorization', authorization],
                  ['x-api-key', 'k'],
                ],
          ...(body === undefined ? {} : { body: Readable.from([Buffer.from(body)]) }),
          signal,
        },
        `repository:${path.split('/')[1]}:pull`,
      );
      await discard(response);
      return response.status;
    }

    /** Path and Authorization of each request. */
    get asked(): string[] {
      return this.server.requests.map(({ url, headers }) => `${url} ${headers.authorization ?? '-'}`);
    }

    async [Symbol.asyncDispose](): Promise<void> {
      await this.#client.close();
      await this.server[Symbol.asyncDispose]();
    }
  }

  /** A registry that wants tokens, and the service that numbers them; `good` says which it takes. */
  const withTokens = (good: (token: string) => boolean): Script => {
    let given = 0;
    return (request, response) => {
      const realm = `http://${request.headers.host}/token`;
      if (request.url?.startsWith('/token')) {
        given += 1;
        return void response.end(JSON.stringify({ token: `t${given}`, expires_in: 3600 }));
      }
      const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
      if (token !== undefined && good(token)) return void response.end('{}');
      response.writeHead(401, { 'WWW-Authenticate': `Bearer realm="${realm}",service="s"` });
      return void response.end();
    };
  };

  it('gets a token with its own credentials, presents it, and keeps it for that scope', async () => {
    await using bench = await Bench.start(
      withTokens(() => true),
      own,
    );
    for (const path of ['/a/x', '/a/y', '/b/x']) assert.equal(await bench.send(path, ALICE), 200);
    assert.deepEqual(bench.asked, [
      '/a/x -',
      `/token?service=s&scope=repository%3Aa%3Apull ${ROBOT}`,
      '/a/x Bearer t1',
      '/a/y Bearer t1',
      '/b/x -',
      `/token?service=s&scope=repository%3Ab%3Apull ${ROBOT}`,
      '/b/x Bearer t2',
    ]);
  });

  it('gets another token, once, where the one it has is refused', async () => {
    let good = 't1';
    await using bench = await Bench.start(
      withTokens((token) => token === good),
      own,
    );
    assert.equal(await bench.send('/a/x'), 200);
    good = 't2';
    assert.equal(await bench.send('/a/x'), 200);
    good = 'none';
    await assert.rejects(bench.send('/a/x'), isDenied);
    assert.deepEqual(
      bench.asked.filter((line) => line.startsWith('/a')).map((line) => line.slice(5)),
      ['-', 'Bearer t1', 'Bearer t1', 'Bearer t2', 'Bearer t2', 'Bearer t3'],
    );
  });

  it('finds out what is wanted before it sends a body, and sends that once', async () => {
    await using bench = await Bench.start(
      withTokens(() => true),
      own,
    );
    assert.equal(await bench.send('/a/x', undefined, 'body'), 200);
    assert.equal(await bench.send('/b/x', undefined, 'body'), 200);
    assert.deepEqual(
      bench.asked.map((line) => line.replace(/\?.*/, '')),
      ['/v2/ -', '/token', '/a/x Bearer t1', '/token', '/b/x Bearer t2'],
    );
  });

  it('presents a password itself where that is asked for', async () => {
    const script: Script = (request, response) => {
      if (request.headers.authorization === ROBOT) return void response.end('{}');
      return void response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
    };
    await using bench = await Bench.start(script, own);
    assert.equal(await bench.send('/a/x', undefined, 'body'), 200);
    assert.equal(await bench.send('/a/x', ALICE), 200);
    assert.deepEqual(bench.asked, ['/v2/ -', `/a/x ${ROBOT}`, `/a/x ${ROBOT}`]);
  });

  for (const [what, settings, authorization] of [
    ['its own password', () => own, undefined],
    ["a caller's password", () => ({}), ALICE],
    ["a caller's token", () => ({}), 'Bearer x'],
  ] as const) {
    it(`lets ${what} cross to no other host`, async () => {
      await using elsewhere = await ScriptedServer.start((_, response) => void response.end('blob'));
      const script: Script = (request, response) => {
        if (request.headers.authorization === undefined) {
          return void response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="x"' }).end();
        }
        return void response.writeHead(307, { Location: `${elsewhere.url}/store` }).end();
      };
      await using bench = await Bench.start(script, settings());
      assert.equal(await bench.send('/a/x', authorization), 200);
      assert.equal(elsewhere.requests.length, 1);
      assert.equal(elsewhere.last.headers.authorization, undefined);
    });
  }

  it('sends no password to a token service in the clear on another host', async () => {
    const script: Script = (_, response) =>
      void response.writeHead(401, { 'WWW-Authenticate': 'Bearer realm="http://tokens.example/"' }).end();
    await using bench = await Bench.start(script, own);
    await assert.rejects(
      bench.send('/a/x'),
      (error) => error instanceof RegistryError && error.fault.kind === 'upstream-protocol',
    );
    // A caller sees the upstream's own challenge and may decide by itself.
    await using passing = await Bench.start(script, {});
    assert.equal(await passing.send('/a/x', ALICE), 401);
  });

  it('asks as nobody where neither it nor the caller is to be known', async () => {
    await using bench = await Bench.start(
      withTokens(() => true),
      { passCredentials: false },
    );
    assert.equal(await bench.send('/a/x', ALICE), 200);
    assert.deepEqual(bench.asked, [
      '/a/x -',
      '/token?service=s&scope=repository%3Aa%3Apull -',
      '/a/x Bearer t1',
    ]);
    for (const { headers } of bench.server.requests) assert.equal(headers['x-api-key'], undefined);
  });

  it("passes a caller's token on untouched, and the upstream's refusal back", async () => {
    await using bench = await Bench.start(
      withTokens((token) => token === 'good'),
      {},
    );
    assert.equal(await bench.send('/a/x', 'Bearer good'), 200);
    assert.equal(await bench.send('/a/x', 'Bearer bad'), 401);
    assert.equal(await bench.send('/a/x'), 401);
    assert.deepEqual(bench.asked, ['/a/x Bearer good', '/a/x Bearer bad', '/a/x -']);
  });

  const AWAY: readonly (readonly [title: string, token: Script])[] = [
    ['is silent', () => undefined],
    ['breaks off', (_, response) => void response.destroy()],
    ['answers 503', (_, response) => void response.writeHead(503).end()],
    ['answers 429', (_, response) => void response.writeHead(429).end()],
  ];
  for (const [title, token] of AWAY) {
    it(`takes a token service that ${title} for an upstream that is away, whoever asks`, async () => {
      const script: Script = (request, response) => {
        if (request.url?.startsWith('/token') === true) return token(request, response);
        const challenge = `Bearer realm="http://${request.headers.host}/token",service="s"`;
        return void response.writeHead(401, { 'WWW-Authenticate': challenge }).end();
      };
      // Far longer than the test may take: what counts is the time that reads have.
      const patient = { headerTimeoutMs: 600_000, readTimeoutMs: 500 };
      for (const settings of [patient, { ...own, ...patient }]) {
        await using bench = await Bench.start(script, settings);
        await assert.rejects(bench.send('/a/x', ALICE), isAway);
        await assert.rejects(bench.send('/a/x', ALICE, 'body'), isAway);
      }
    });
  }

  it('keeps the tokens of two callers apart', async () => {
    await using bench = await Bench.start(
      withTokens(() => true),
      {},
    );
    await bench.send('/a/x', ALICE);
    await bench.send('/a/x', ROBOT);
    await bench.send('/a/x', ALICE);
    const presented = bench.asked.filter((line) => line.startsWith('/a/x Bearer'));
    assert.deepEqual(presented, ['/a/x Bearer t1', '/a/x Bearer t2', '/a/x Bearer t1']);
  });
});

function isAway(error: unknown): boolean {
  return error instanceof RegistryError && error.fault.kind === 'upstream-unreachable';
}

function isDenied(error: unknown): boolean {
  return error instanceof RegistryError && error.fault.kind === 'upstream-denied';
}
