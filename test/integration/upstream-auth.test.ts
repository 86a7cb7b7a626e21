import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { parseChallenge } from '../../schemas/registry-auth/challenge.ts';
import { basicAuthorization } from '../../schemas/registry-auth/credentials.ts';
import { run } from '../../scripts/lib/child.ts';
import { PrivateContainerd } from '../../scripts/lib/containerd.ts';
import { DockerRegistry, HTPASSWD, htpasswdAuth } from '../support/docker-registry.ts';
import { makeLayout } from '../support/images.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { skip } from '../support/skip.ts';
import { directory as dir, file } from '../support/tar.ts';
import { TokenService, type TokenUser } from '../support/token-service.ts';

const ALL = ['pull', 'push', 'delete'];
const PRIVATE = 'team/private';
const USERS = {
  alice: { password: 'wonderland', grants: { [PRIVATE]: ALL, 'team/alice': ALL, 'team/public': ALL } },
  bob: { password: 'builder', grants: { 'team/bob': ALL, 'team/public': ['pull'] } },
  robot: {
    password: 'r2d2-password',
    identityToken: 'robots-identity-token',
    grants: Object.fromEntries([PRIVATE, 'team/new', 'team/other'].map((name) => [name, ALL])),
  },
  '': { password: '', grants: { 'team/public': ['pull'] } },
} satisfies Record<string, TokenUser>;
const basic = (username: string, password: string) => basicAuthorization({ username, password });
const ALICE = basic('alice', USERS.alice.password);
const BOB = basic('bob', USERS.bob.password);

describe('upstreams that ask for credentials', function () {
  this.timeout(240_000);
  let root: string;
  let service: TokenService;
  let htpasswd: DockerRegistry;
  let tokens: DockerRegistry;
  let proxy: ProxyProcess;
  let manifest: Digest;
  let fixedToken: string;

  before(async () => {
    root = await mkdtemp('/tmp/sl-'); // short: it becomes part of mount options and socket names
    for (const name of ['basic-registry', 'token-registry']) await mkdir(join(root, name));
    service = await TokenService.start({ directory: root, users: USERS });
    htpasswd = await DockerRegistry.start(join(root, 'basic-registry'), {
      auth: await htpasswdAuth(root),
    });
    tokens = await DockerRegistry.start(join(root, 'token-registry'), { auth: service.registryAuth });
    const made = makeLayout(join(root, 'layout'), [
      { tag: 'v1', layers: [[dir('etc'), file('etc/name', 'x')]] },
    ]);
    manifest = made.tags.get('v1')?.digest ?? assert.fail();
    const push = (host: string, name: string, user: string) =>
      run('skopeo', [
        ...[
          '--insecure-policy',
          'copy',
          '-q',
          '--preserve-digests',
          '--dest-tls-verify=false',
          '--dest-creds',
          user,
        ],
        ...[`oci:${made.path}:v1`, `docker://${host}/${name}:v1`],
      ]);
    await push(htpasswd.host, PRIVATE, `alice:${HTPASSWD.alice.password}`);
    for (const name of [PRIVATE, 'team/public', 'team/alice']) {
      await push(tokens.host, name, `alice:${USERS.alice.password}`);
    }
    const secret = async (name: string, text: string) => {
      await writeFile(join(root, name), `${text}\n`);
      return join(root, name);
    };
    fixedToken = await tokenFor(BOB, 'team/public');
    const [h, t] = [`http://${htpasswd.host}`, `http://${tokens.host}`];
    const robot = { username: 'robot', passwordFile: await secret('robot', USERS.robot.password) };
    await writeFile(
      join(root, 'proxy.json'),
      JSON.stringify({
        upstreams: [
          { name: 'basic', url: h, prefix: 'basic', hosts: ['basic.test'] },
          { name: 'token', url: t, prefix: 'token', hosts: ['token.test'], default: true },
          {
            ...{ name: 'own-basic', url: h, prefix: 'own-basic', username: 'alice' },
            passwordFile: await secret('alice', HTPASSWD.alice.password),
          },
          { name: 'own-token', url: t, prefix: 'own-token', ...robot },
          {
            ...{ name: 'own-identity', url: t, prefix: 'own-identity', username: '<token>' },
            passwordFile: await secret('identity', USERS.robot.identityToken),
          },
          { name: 'own-fixed', url: t, prefix: 'own-fixed', tokenFile: await secret('fixed', fixedToken) },
          { name: 'anonymous', url: t, prefix: 'anonymous', passCredentials: false },
          { name: 'wrong', url: t, prefix: 'wrong', ...robot, passwordFile: await secret('wrong', 'not-it') },
          { name: 'wrong-basic', url: h, prefix: 'wrong-basic', ...robot },
          { name: 'lost', url: t, prefix: 'lost', ...robot, passwordFile: join(root, 'none') },
        ],
      }),
    );
    proxy = await ProxyProcess.start(join(root, 'proxy'), ['--config', join(root, 'proxy.json')]);
  });
  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await htpasswd?.[Symbol.asyncDispose]();
    await tokens?.[Symbol.asyncDispose]();
    await service?.[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });

  /** A token as a client gets it by itself. */
  async function tokenFor(authorization: string, name: string, actions = 'pull'): Promise<string> {
    const response = await fetch(`${service.url}&scope=repository:${name}:${actions}`, {
      headers: { authorization },
    });
    return ((await response.json()) as { token: string }).token;
  }

  const get = async (path: string, authorization?: string) =>
    await fetch(`${proxy.url}${path}`, {
      headers: {
        accept: MEDIA_TYPE.ociManifest,
        ...(authorization === undefined ? {} : { authorization }),
      },
    });
  const manifestOf = (prefix: string, name = PRIVATE) => `/v2/${prefix}/${name}/manifests/v1`;

  describe('the challenge goes back to the caller as it is', () => {
    it('for Basic', async () => {
      const response = await get(manifestOf('basic'));
      assert.equal(response.status, 401);
      assert.equal(response.headers.get('www-authenticate'), 'Basic realm="test"');
    });

    it('for a token service on another host, in the names of the upstream', async () => {
      for (const path of [manifestOf('token'), `/v2/${PRIVATE}/manifests/v1?ns=token.test`]) {
        const response = await get(path);
        assert.equal(response.status, 401);
        const challenge = parseChallenge(response.headers.get('www-authenticate') ?? '');
        assert.ok(challenge?.scheme === 'bearer');
        assert.equal(challenge.realm, new URL(service.url).origin + new URL(service.url).pathname);
        assert.equal(challenge.scope, `repository:${PRIVATE}:pull`);
      }
    });
  });

  const ROWS: readonly (readonly [
    what: string,
    prefix: string,
    name: string,
    auth: string | undefined,
    status: number,
  ])[] = [
    [
      'her password, where Basic is asked for',
      'basic',
      PRIVATE,
      basic('alice', HTPASSWD.alice.password),
      200,
    ],
    ['a wrong password', 'basic', PRIVATE, basic('alice', 'x'), 401],
    ["another's password", 'basic', PRIVATE, basic('alice', HTPASSWD.bob.password), 401],
    ['her password, exchanged for a token', 'token', PRIVATE, ALICE, 200],
    ['her password once more', 'token', PRIVATE, ALICE, 200],
    ['the rights of another, whose token is at hand', 'token', PRIVATE, BOB, 401],
    [
      "her name and another's password, while her token is at hand",
      'token',
      PRIVATE,
      basic('alice', 'x'),
      401,
    ],
    ['no credentials, while a token is at hand', 'token', PRIVATE, undefined, 401],
    ['a repository that is not hers, while she has a token for hers', 'token', 'team/bob', ALICE, 401],
    ['a token that is none', 'token', PRIVATE, 'Bearer x', 401],
    ["the proxy's own password", 'own-basic', PRIVATE, undefined, 200],
    ["the proxy's own, whatever the caller presents", 'own-basic', PRIVATE, basic('x', 'y'), 200],
    ["the proxy's own, exchanged for a token", 'own-token', PRIVATE, undefined, 200],
    ["the proxy's own token, whatever the caller presents", 'own-token', PRIVATE, 'Bearer x', 200],
    ["what the proxy's own may not do", 'own-token', 'team/alice', undefined, 403],
    ["what the proxy's own may not do, though the caller may", 'own-token', 'team/alice', ALICE, 403],
    ["the proxy's identity token", 'own-identity', PRIVATE, undefined, 200],
    ["the proxy's fixed token", 'own-fixed', 'team/public', undefined, 200],
    ['a fixed token for another scope', 'own-fixed', PRIVATE, ALICE, 403],
    ['nobody, where that suffices', 'anonymous', 'team/public', undefined, 200],
    ['nobody, where that does not', 'anonymous', PRIVATE, undefined, 403],
    ['nobody, though the caller has credentials', 'anonymous', PRIVATE, ALICE, 403],
    ['a wrong password of its own', 'wrong', PRIVATE, undefined, 502],
    ['a wrong password of its own, for Basic', 'wrong-basic', PRIVATE, undefined, 403],
    ['a password that is not there', 'lost', PRIVATE, undefined, 502],
  ];
  for (const [what, prefix, name, auth, status] of ROWS) {
    it(`answers ${status} to ${name} of "${prefix}" with ${what}`, async () => {
      const response = await get(manifestOf(prefix, name), auth);
      assert.equal(response.status, status, await response.text());
      if (status === 200) assert.equal(response.headers.get('docker-content-digest'), manifest);
      // What the proxy presents is no affair of the caller's: nobody is to answer its challenges.
      if (status !== 401) assert.equal(response.headers.get('www-authenticate'), null);
    });
  }

  it('passes a token on that the caller got itself, and no further than its scope', async () => {
    const token = `Bearer ${await tokenFor(ALICE, 'team/alice')}`;
    assert.equal((await get(manifestOf('token', 'team/alice'), token)).status, 200);
    const refused = await get(manifestOf('token'), token);
    assert.equal(refused.status, 401);
    assert.match(refused.headers.get('www-authenticate') ?? '', /error="insufficient_scope"/);
  });

  it('asks for one token, however many want it at once, and keeps it', async () => {
    const before = service.given.length;
    const path = manifestOf('token', 'team/alice');
    const answers = await Promise.all(Array.from({ length: 20 }, () => get(path, ALICE)));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.equal((await get(path, ALICE)).status, 200);
    assert.deepEqual(service.given.slice(before), [
      { user: 'alice', method: 'GET', scopes: ['repository:team/alice:pull'] },
    ]);
  });

  it('presents an identity token with a POST', () => {
    const posted = service.given.filter(({ method }) => method === 'POST');
    assert.deepEqual(posted, [{ user: 'robot', method: 'POST', scopes: [`repository:${PRIVATE}:pull`] }]);
  });

  for (const [prefix, name, auth] of [
    ['own-basic', 'team/new', undefined],
    ['own-token', 'team/new', undefined],
    ['own-identity', 'team/other', undefined],
    ['token', 'team/alice', ALICE],
    ['basic', 'team/new', basic('bob', HTPASSWD.bob.password)],
  ] as const) {
    it(`uploads to "${prefix}", though a body can be sent only once`, async () => {
      const headers = auth === undefined ? {} : { authorization: auth };
      const bytes = randomBytes(300_000);
      const digest = digestOf(bytes);
      const begun = await fetch(`${proxy.url}/v2/${prefix}/${name}/blobs/uploads/`, {
        method: 'POST',
        headers,
      });
      assert.equal(begun.status, 202, await begun.text());
      const location = new URL(begun.headers.get('location') ?? '', proxy.url);
      location.searchParams.set('digest', digest);
      const ended = await fetch(location, { method: 'PUT', body: bytes, headers });
      assert.equal(ended.status, 201, await ended.text());
      const blob = await fetch(new URL(ended.headers.get('location') ?? '', proxy.url), { headers });
      assert.equal(digestOf(new Uint8Array(await blob.arrayBuffer())), digest);
    });
  }

  it('mounts across repositories with one token for both', async () => {
    const { layers } = (await (await get(manifestOf('own-token'))).json()) as {
      layers: { digest: string }[];
    };
    const path = `/v2/own-token/team/other/blobs/uploads/?mount=${layers[0]?.digest}&from=own-token/${PRIVATE}`;
    assert.equal((await fetch(`${proxy.url}${path}`, { method: 'POST' })).status, 201);
  });

  describe('for workers', () => {
    const delta = async (name: string, authorization?: string) => {
      const response = await get(`/starlight/delta?to=${name}:v1`, authorization);
      return {
        status: response.status,
        text: await response.text(),
        challenge: response.headers.get('www-authenticate'),
      };
    };

    it('the caller decides what may be asked about', async () => {
      assert.match((await delta(`token/${PRIVATE}`, ALICE)).text, /NOT_CONVERTED/);
      assert.equal((await delta(`token/${PRIVATE}`, BOB)).status, 401);
      const without = await delta(`token/${PRIVATE}`);
      assert.equal(without.status, 401);
      assert.match(without.challenge ?? '', /^Bearer realm=/);
    });

    it('the proxy decides where it has credentials of its own', async () => {
      assert.match((await delta(`own-token/${PRIVATE}`)).text, /NOT_CONVERTED/);
      const denied = await delta('own-token/team/alice', ALICE);
      assert.equal(denied.status, 403);
      assert.equal(denied.challenge, null);
    });
  });

  it('skopeo logs in through it, at a token service elsewhere', async () => {
    const [url, flags] = [
      `docker://${proxy.host}/${PRIVATE}:v1`,
      ['--insecure-policy', 'inspect', '--tls-verify=false'],
    ];
    const found = await run('skopeo', [...flags, '--creds', `alice:${USERS.alice.password}`, url]);
    assert.equal(JSON.parse(found).Digest, manifest);
    await assert.rejects(
      run('skopeo', [...flags, '--creds', `bob:${USERS.bob.password}`, url]),
      /denied|unauthorized/,
    );
  });

  it('containerd logs in through it, as the mirror of another host', async function () {
    if (process.getuid?.() !== 0) skip(this, 'not root');
    const hosts = join(root, 'certs.d');
    for (const host of ['token.test', 'basic.test']) {
      await mkdir(join(hosts, host), { recursive: true });
      const toml = `server = "http://127.0.0.1:1"\n[host."${proxy.url}"]\n  capabilities = ["pull", "resolve"]\n`;
      await writeFile(join(hosts, host, 'hosts.toml'), toml);
    }
    await using containerd = await PrivateContainerd.start({ directory: join(root, 'c') });
    const pull = ['images', 'pull', '--hosts-dir', hosts, '--snapshotter', 'native'];
    for (const host of ['token.test', 'basic.test']) {
      const reference = `${host}/${PRIVATE}:v1`;
      assert.notEqual((await containerd.tryCtr([...pull, reference])).code, 0, 'without a login');
      await containerd.ctr(...pull, '--user', `alice:${USERS.alice.password}`, reference);
    }
  });

  it('says in its log what is wrong, and never with what it was tried', async () => {
    await proxy.logged(/it does not accept the credentials that are configured for it/);
    const log = proxy.server.log();
    const secrets = [
      ...Object.values(USERS).map(({ password }) => password),
      ...[USERS.robot.identityToken, 'not-it', ALICE, BOB, fixedToken],
      ...Object.values(HTPASSWD).map(({ password }) => password),
    ].filter((secret) => secret !== '');
    for (const secret of secrets) assert.ok(!log.includes(secret.replace(/^Basic /, '')), secret);
    assert.doesNotMatch(log, /eyJ[\w-]{10,}\.eyJ/, 'no token that was given out');
  });
});
