import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Agent } from 'undici';
import type { Login } from '../../../schemas/registry-auth/credentials.ts';
import {
  RegistryAuth,
  type RegistryAuthOptions,
  type TokenScope,
} from '../../../schemas/registry-auth/registry-auth.ts';
import type { RegistryAuthErrorKind } from '../../../schemas/registry-auth/registry-auth-error.ts';

const signal = new AbortController().signal;
const login: Login = { username: 'me', password: 'secret' };
const ACCESS = 'repository:a/b:pull repository:c:pull';

describe('RegistryAuth', () => {
  const dispatcher = new Agent();
  let server: Server;
  let realm = '';
  let asked: { url: string; authorization: string | undefined }[] = [];
  let bodies: string[] = [];
  let answer: RequestListener = (_, response) => response.end('{"token":"t"}');
  let nowMs = 0;
  before(async () => {
    server = createServer((request, response) => {
      asked.push({ url: request.url ?? '', authorization: request.headers.authorization });
      request.on('data', (data: Buffer) => bodies.push(data.toString()));
      answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`; // listens on TCP
  });
  beforeEach(() => {
    asked = [];
    bodies = [];
    nowMs = 1_000_000;
    answer = (_, response) => response.end('{"token":"t"}');
  });
  after(async () => {
    await dispatcher.destroy();
    server.close();
  });

  const auth = (options: Partial<RegistryAuthOptions> = {}): RegistryAuth =>
    new RegistryAuth({
      ...{ dispatcher, timeoutMs: 5000, nowMs: () => nowMs, access: 'own', insecure: false },
      ...options,
    });
  const scope = (credentials?: Login, host = 'r.example'): TokenScope => ({
    host,
    access: ACCESS,
    credentials: async () => credentials,
  });
  const json = (value: unknown) => {
    answer = (_, response) => response.end(JSON.stringify(value));
  };

  it('knows nothing before it was challenged', () => {
    assert.equal(auth().known(scope(login)), undefined);
  });

  it('answers Basic with the login, for good', async () => {
    const one = auth();
    const expected = `Basic ${Buffer.from('me:secret').toString('base64')}`;
    assert.equal(await one.answer(scope(login), 'Basic realm="x"', signal), expected);
    nowMs += 1e12;
    assert.equal(one.known(scope()), expected);
    assert.equal(one.known({ host: 'r.example', access: 'repository:other:pull' }), undefined);
    assert.equal(one.known({ host: 'other.example', access: ACCESS }), undefined);
    one.forget(scope());
    assert.equal(one.known(scope()), undefined);
  });

  const own = 'scope=repository%3Aa%2Fb%3Apull&scope=repository%3Ac%3Apull';
  const questions: readonly (readonly [RegistryAuthOptions['access'], string, string])[] = [
    ['own', ',service="s",scope="x"', `/token?service=s&${own}`],
    ['own', '', `/token?${own}`],
    ['challenged', ',service="s",scope="x y"', '/token?service=s&scope=x&scope=y'],
    ['challenged', ',scope=""', `/token?${own}`],
    ['challenged', '', `/token?${own}`],
    ['both', ',scope="x repository:c:pull"', `/token?${own}&scope=x`],
    ['both', '', `/token?${own}`],
  ];
  for (const [access, rest, url] of questions) {
    it(`asks for the ${access} access after ${JSON.stringify(rest)}`, async () => {
      assert.equal(
        await auth({ access }).answer(scope(), `Bearer realm="${realm}"${rest}`, signal),
        'Bearer t',
      );
      assert.deepEqual(asked, [{ url, authorization: undefined }]);
    });
  }

  const lives: readonly (readonly [object, lastMs: number])[] = [
    [{ token: 't' }, 49_999],
    [{ access_token: 't', expires_in: 300 }, 289_999],
    [{ token: 't', expires_in: 4 }, 1999],
    [{ token: 't', expires_in: 0 }, 49_999],
    [{ token: 't', expires_in: 'soon' }, 49_999],
  ];
  for (const [value, lastMs] of lives) {
    it(`keeps ${JSON.stringify(value)} for ${lastMs} ms and no longer`, async () => {
      json(value);
      const one = auth();
      await one.answer(scope(login), `Bearer realm="${realm}"`, signal);
      nowMs += lastMs;
      assert.equal(one.known(scope()), 'Bearer t');
      nowMs += 1;
      assert.equal(one.known(scope()), undefined);
    });
  }

  const issued = (agoMs: number) => new Date(1_000_000 - agoMs).toISOString();
  const ages: readonly (readonly [string, object, lastMs: number])[] = [
    ['from when it was issued', { token: 't', expires_in: 300, issued_at: issued(100_000) }, 189_999],
    [
      'from now if issued in the future',
      { token: 't', expires_in: 300, issued_at: issued(-50_000) },
      289_999,
    ],
    ['from now if it would be over', { token: 't', expires_in: 300, issued_at: issued(400_000) }, 289_999],
    ['from now if issued at no time', { token: 't', expires_in: 300, issued_at: 'soon' }, 289_999],
  ];
  for (const [what, value, lastMs] of ages) {
    it(`counts a token's life ${what}`, async () => {
      json(value);
      const one = auth();
      await one.answer(scope(login), `Bearer realm="${realm}"`, signal);
      nowMs += lastMs;
      assert.equal(one.known(scope()), 'Bearer t');
      nowMs += 1;
      assert.equal(one.known(scope()), undefined);
    });
  }

  it('exchanges an identity token by OAuth 2, and never puts it into a URL or header', async () => {
    json({ access_token: 'a' });
    const identity = { identityToken: 'secret+token' };
    const header = `Bearer realm="${realm}",service="s"`;
    assert.equal(await auth().answer(scope(identity), header, signal), 'Bearer a');
    assert.deepEqual(asked, [{ url: '/token', authorization: undefined }]);
    assert.deepEqual(Object.fromEntries(new URLSearchParams(bodies.join(''))), {
      grant_type: 'refresh_token',
      refresh_token: 'secret+token',
      client_id: 'starlight',
      service: 's',
      scope: ACCESS,
    });
    await assert.rejects(auth().answer(scope(identity), 'Basic realm="x"', signal), { kind: 'unauthorized' });
  });

  it('gives nobody what was given to another caller', async () => {
    const one = auth();
    await one.answer({ ...scope(login), caller: 'a' }, `Bearer realm="${realm}"`, signal);
    assert.equal(one.known({ ...scope(), caller: 'a' }), 'Bearer t');
    assert.equal(one.known({ ...scope(), caller: 'b' }), undefined);
    assert.equal(one.known(scope()), undefined);
  });

  it('asks once for all who want the same at once, and separately for each caller', async () => {
    const one = auth();
    const ask = (caller: string) =>
      one.answer({ ...scope(login), caller }, `Bearer realm="${realm}"`, signal);
    await Promise.all([ask('a'), ask('a'), ask('b'), ask('a')]);
    assert.equal(asked.length, 2);
  });

  it('forgets the answer that was refused, and not the next', async () => {
    const one = auth();
    const first = await one.answer(scope(login), `Bearer realm="${realm}"`, signal);
    json({ token: 'next' });
    await one.answer(scope(login), `Bearer realm="${realm}"`, signal);
    one.forget(scope(), first);
    assert.equal(one.known(scope()), 'Bearer next');
    one.forget(scope(), 'Bearer next');
    assert.equal(one.known(scope()), undefined);
  });

  it('keeps a bounded number, the last used', async () => {
    const one = auth();
    const ask = (n: number) => one.answer({ ...scope(login), access: `${n}` }, 'Basic realm="x"', signal);
    const known = (n: number) => one.known({ host: 'r.example', access: `${n}` }) !== undefined;
    for (let n = 0; n < 1024; n += 1) await ask(n);
    assert.ok(known(0)); // used again, so that 1 is the oldest
    await ask(1024);
    assert.deepEqual([known(0), known(1), known(2), known(1024)], [true, false, true, true]);
  });

  const refusals: readonly (readonly [string, RequestListener, RegistryAuthErrorKind])[] = [
    ['401', (_, response) => response.writeHead(401).end(), 'unauthorized'],
    ['404', (_, response) => response.writeHead(404).end(), 'unauthorized'],
    ['a redirect', (_, response) => response.writeHead(302, { location: '/' }).end(), 'unauthorized'],
    ['500', (_, response) => response.writeHead(500).end(), 'unavailable'],
    ['503', (_, response) => response.writeHead(503).end(), 'unavailable'],
    ['429', (_, response) => response.writeHead(429).end(), 'unavailable'],
    ['nothing', (_, response) => response.destroy(), 'unreachable'],
    [
      'half an answer',
      (_, response) => void response.write('{"token":', () => response.destroy()),
      'unreachable',
    ],
    ['no JSON', (_, response) => response.end('token'), 'unauthorized'],
    ['null', (_, response) => response.end('null'), 'unauthorized'],
    ['no token', (_, response) => response.end('{}'), 'unauthorized'],
    ['an empty token', (_, response) => response.end('{"token":""}'), 'unauthorized'],
    [
      'a token that would be a header',
      (_, response) => response.end('{"token":"t\\r\\nx: y"}'),
      'unauthorized',
    ],
    ['endless blanks', (_, response) => response.end(' '.repeat(2 << 20)), 'unauthorized'],
  ];
  for (const [what, handler, kind] of refusals) {
    it(`fails as ${kind} on ${what} from the token service, and keeps nothing`, async () => {
      answer = handler;
      const one = auth();
      await assert.rejects(one.answer(scope(login), `Bearer realm="${realm}"`, signal), (error: Error) => {
        assert.doesNotMatch(error.message, /secret/);
        assert.equal('kind' in error && error.kind, kind, error.message);
        return true;
      });
      assert.equal(one.known(scope()), undefined);
    });
  }

  for (const [what, header, credentials] of [
    ['no challenge', undefined, login],
    ['another scheme', 'Negotiate', login],
    ['Basic and no login', 'Basic realm="x"', undefined],
    ['a token service elsewhere and in the clear', 'Bearer realm="http://t.example/"', login],
  ] as const) {
    it(`does not meet ${what}`, async () => {
      await assert.rejects(auth().answer(scope(credentials), header, signal), { kind: 'unauthorized' });
      assert.deepEqual(asked, []);
    });
  }

  it('sends a login in the clear where that is allowed', async () => {
    // The name does not exist: that it was asked for is all there is to see.
    const insecure = auth({ insecure: true });
    await assert.rejects(insecure.answer(scope(login), 'Bearer realm="http://t.invalid/"', signal), {
      kind: 'unreachable',
    });
  });

  it("ends with the caller's own reason", async () => {
    const controller = new AbortController();
    answer = () => controller.abort(new Error('enough'));
    await assert.rejects(
      auth().answer(scope(login), `Bearer realm="${realm}"`, controller.signal),
      /^Error: enough/,
    );
  });
});
