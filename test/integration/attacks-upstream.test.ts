import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { parseIndex } from '../../schemas/oci/types.ts';
import { basicAuthorization } from '../../schemas/registry-auth/credentials.ts';
import { run } from '../../scripts/lib/child.ts';
import type { MadeImage } from '../extensions/starlight/made-image.ts';
import { convertedLayout } from '../support/converted-layout.ts';
import { DockerRegistry } from '../support/docker-registry.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { type RawAnswer, type RawCall, rawCall } from '../support/raw-http.ts';
import { type Script, ScriptedServer } from '../support/scripted-server.ts';
import { directory, file } from '../support/tar.ts';
import { TokenService, type TokenUser } from '../support/token-service.ts';
import { unpackBundle } from '../extensions/starlight/unpack-bundle.ts';

const ACCEPT = { accept: `${MEDIA_TYPE.ociManifest}, ${MEDIA_TYPE.ociIndex}, */*` };
const ALL = ['pull', 'push', 'delete'];
const USERS = {
  ann: { password: 'anns password', grants: { 'team/app': ALL, 'public/app': ALL } },
  eve: { password: 'eves password', grants: { 'eve/app': ALL, 'public/app': ['pull'] } },
  '': { password: '', grants: { 'public/app': ['pull'] } },
} satisfies Record<string, TokenUser>;

/** Undefined is whoever does not log in. */
type User = 'ann' | 'eve' | undefined;

// The upstream decides by its token service: ann's team/app is private, eve may use eve/app and what is public. Its
// blobs, manifests and bundles are in all caches of the proxy, since ann has pulled. A second upstream is eve's own.
describe('attacks on what an upstream keeps private', function () {
  this.timeout(240_000);
  let root: string;
  let service: TokenService;
  let registry: DockerRegistry;
  let evil: ScriptedServer;
  let proxy: ProxyProcess;
  let secret: MadeImage;
  let open: MadeImage;
  let config: Digest;
  let layer: Digest;
  let etags: { blob: string; bundle: string };
  /** What eve's registry says, over what it says by itself. */
  let script: Script | undefined;

  const authorization = (user: User): Record<string, string> =>
    user === undefined
      ? {}
      : { authorization: basicAuthorization({ username: user, password: USERS[user].password }) };

  const ask = (user: User, target: string, { headers, ...call }: RawCall = {}): Promise<RawAnswer> =>
    rawCall(proxy.port, target, { ...call, headers: { ...ACCEPT, ...authorization(user), ...headers } });

  /** A token as a client gets it by itself. */
  async function token(user: User, scope: string): Promise<string> {
    const answer = await fetch(`${service.url}&scope=${scope}`, { headers: authorization(user) });
    return `Bearer ${((await answer.json()) as { token: string }).token}`;
  }

  /** That nothing of the image is in an answer: none of its files, no digest but those that were asked for. */
  function assertTellsNothing(answer: RawAnswer, what: string): void {
    for (const blob of secret.blobs) assert.ok(!answer.bytes.includes(blob.bytes.subarray(0, 64)), what);
    assert.ok(!answer.bytes.includes(secret.manifest.bytes.subarray(0, 64)), what);
    assert.ok(!answer.text.includes(secret.tocDigest), what);
    for (const name of ['etag', 'content-range', 'docker-content-digest', 'starlight-unknown-from']) {
      assert.equal(answer.headers[name], undefined, `${what}: ${name}`);
    }
    const { 'content-length': length } = answer.headers;
    for (const { bytes } of [secret.manifest, ...secret.blobs]) {
      assert.notEqual(Number(length), bytes.byteLength, `${what}: the size`);
    }
  }

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-test-attacks-'));
    await mkdir(join(root, 'registry'));
    service = await TokenService.start({ directory: root, users: USERS });
    registry = await DockerRegistry.start(join(root, 'registry'), { auth: service.registryAuth });
    evil = await ScriptedServer.start((request, response) => {
      if (script !== undefined) return script(request, response);
      return void response.writeHead(404).end('{"errors":[]}');
    });
    const image = async (tag: string) => {
      const layers = [
        [directory('bin'), file('bin/app', `the ${tag} program`), file('etc/of', tag.repeat(99))],
      ];
      const made = await convertedLayout(join(root, tag), tag, layers, { process: { Env: [`KEY=${tag}`] } });
      const name = tag === 'secret' ? 'team/app' : 'public/app';
      await run('skopeo', [
        ...['--insecure-policy', 'copy', '-q', '--preserve-digests', '--dest-tls-verify=false'],
        ...['--dest-creds', `ann:${USERS.ann.password}`],
        ...[`oci:${join(root, tag)}:${tag}`, `docker://${registry.host}/${name}:v1`],
      ]);
      return made;
    };
    [secret, open] = [await image('secret'), await image('open')];
    [config, layer] = secret.blobs.map(({ digest }) => digest) as [Digest, Digest];
    const upstreams = [
      { name: 'main', url: `http://${registry.host}`, prefix: 'main', hosts: ['main.test'], default: true },
      { name: 'evil', url: evil.url, prefix: 'evil', hosts: ['evil.test'] },
    ];
    await writeFile(
      join(root, 'proxy.json'),
      JSON.stringify({ upstreams, mirror: { maxBytes: 64 << 20, dir: join(root, 'mirror') } }),
    );
    proxy = await ProxyProcess.start(join(root, 'proxy'), ['--config', join(root, 'proxy.json')]);
    const seen = async (target: string) => {
      const answer = await ask('ann', target);
      assert.equal(answer.status, 200, `${target}: ${answer.text}`);
      return answer.headers['etag'] ?? '';
    };
    for (const path of ['manifests/v1', `manifests/${secret.manifest.digest}`, `blobs/${config}`]) {
      await seen(`/v2/team/app/${path}`);
    }
    etags = {
      blob: await seen(`/v2/main/team/app/blobs/${layer}`),
      bundle: await seen('/starlight/delta?to=team/app:v1'),
    };
    await seen('/starlight/delta?to=main/team/app:v1');
    await seen('/starlight/delta?to=public/app:v1');
  });
  beforeEach(() => {
    script = undefined;
  });
  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
    await service?.[Symbol.asyncDispose]();
    await evil?.[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });

  const NAMES = ['team/app', 'main/team/app', 'team/app?ns=main.test'] as const;
  /** A path below a name that may end with a query. */
  const under = (name: string, path: string) => {
    const [repository, query] = name.split('?');
    return `/v2/${repository}/${path}${query === undefined ? '' : `?${query}`}`;
  };
  const CALLS: readonly (readonly [what: string, call: () => RawCall])[] = [
    ['GET', () => ({})],
    ['HEAD', () => ({ method: 'HEAD' })],
    ['a range', () => ({ headers: { range: 'bytes=0-9' } })],
    ['two ranges', () => ({ headers: { range: 'bytes=0-9,20-29' } })],
    ['a range beyond the end', () => ({ headers: { range: 'bytes=99999999-' } })],
    ['a condition that is met', () => ({ headers: { 'if-none-match': etags.blob } })],
    ['a condition of any', () => ({ headers: { 'if-none-match': '*' } })],
    ['the rest of it', () => ({ headers: { 'if-range': etags.blob, range: 'bytes=10-' } })],
    ['a Connection that drops the credentials', () => ({ headers: { connection: 'authorization' } })],
  ];

  for (const user of ['eve', undefined] as const) {
    for (const name of NAMES) {
      it(`${user ?? 'nobody'} gets no part of ${name}, nor a word of it`, async () => {
        const paths = [
          ...[layer, config].map((digest) => `blobs/${digest}`),
          ...['v1', secret.manifest.digest].map((reference) => `manifests/${reference}`),
        ];
        for (const path of paths) {
          for (const [what, call] of CALLS) {
            const answer = await ask(user, under(name, path), call());
            assert.equal(answer.status, 401, `${what} of ${path}: ${answer.text}`);
            assertTellsNothing(answer, `${what} of ${path}`);
          }
        }
        for (const path of ['tags/list', `referrers/${secret.manifest.digest}`]) {
          const answer = await ask(user, under(name, path));
          assert.equal(answer.status, 401, `${path}: ${answer.text}`);
        }
      });
    }
  }

  const DELTAS: readonly (readonly [what: string, to: string, ns?: string])[] = [
    ['by tag', 'team/app:v1'],
    ['by digest', 'team/app@DIGEST'],
    ['by prefix', 'main/team/app:v1'],
    ['by host', 'team/app:v1', 'main.test'],
  ];
  for (const user of ['eve', undefined] as const) {
    for (const [what, pattern, ns] of DELTAS) {
      it(`${user ?? 'nobody'} gets no bundle of it ${what}, not as one of two, and not the rest of one`, async () => {
        const to = pattern.replace('DIGEST', secret.manifest.digest);
        const query = `to=${to}${ns === undefined ? '' : `&ns=${ns}`}`;
        const both = 'public/app:v1';
        for (const headers of [
          {},
          { 'if-none-match': etags.bundle },
          { 'if-range': etags.bundle, range: 'bytes=100-' },
        ]) {
          for (const asked of [query, `to=${both}&${query}`]) {
            const answer = await ask(user, `/starlight/delta?${asked}`, { headers });
            assert.equal(answer.status, 401, answer.text);
            assertTellsNothing(answer, asked);
          }
          const body = JSON.stringify({ to: [both, to], ...(ns === undefined ? {} : { ns }) });
          const posted = await ask(user, '/starlight/delta', { method: 'POST', headers, body });
          assert.equal(posted.status, 401, posted.text);
          assertTellsNothing(posted, body);
        }
        const notify = JSON.stringify({ reference: to, ...(ns === undefined ? {} : { ns }) });
        const told = await ask(user, '/starlight/notify', { method: 'POST', body: notify });
        assert.equal(told.status, 401, told.text);
        assertTellsNothing(told, 'notify');
      });
    }
  }

  it('a from that is private is unknown to eve, and leaves nothing out', async () => {
    const digests = open.layers
      .flatMap(({ contents }) => contents.sizeBytes.length)
      .reduce((a, b) => a + b, 0);
    for (const from of ['team/app', 'main/team/app']) {
      const held = `${from}@${secret.manifest.digest}`;
      const calls = [
        () => ask('eve', `/starlight/delta?to=public/app:v1&from=${held}`),
        () =>
          ask('eve', '/starlight/delta', {
            method: 'POST',
            body: JSON.stringify({ to: ['public/app:v1'], from: [held] }),
          }),
      ];
      for (const call of calls) {
        const answer = await call();
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.headers['starlight-unknown-from'], held);
        const { bundle, contents } = await unpackBundle(answer.bytes);
        assert.equal(contents.size, digests);
        assert.deepEqual(bundle.header.from, []);
      }
    }
    const known = await ask(
      'ann',
      `/starlight/delta?to=public/app:v1&from=team/app@${secret.manifest.digest}`,
    );
    assert.equal(known.headers['starlight-unknown-from'], undefined, 'to ann it is known');
  });

  it('a report tells nothing of it', async () => {
    for (const image of [secret.manifest.digest, digestOf('no image')]) {
      const body = JSON.stringify({ image, name: 'team/app', traces: [{ opens: ['bin/app'] }] });
      const answer = await ask('eve', '/starlight/report', { method: 'POST', body });
      assert.equal(answer.status, 401, answer.text);
    }
  });

  it("its digests are unknown in eve's own repository", async () => {
    for (const name of ['eve/app', 'main/eve/app', 'eve/app?ns=main.test']) {
      for (const path of [`blobs/${layer}`, `blobs/${config}`, `manifests/${secret.manifest.digest}`]) {
        for (const [what, call] of CALLS.slice(0, -1)) {
          const answer = await ask('eve', under(name, path), call());
          assert.equal(answer.status, 404, `${what} of ${path} in ${name}: ${answer.text}`);
        }
      }
    }
    const bundle = await ask('eve', `/starlight/delta?to=eve/app@${secret.manifest.digest}`);
    assert.equal(bundle.status, 404, bundle.text);
  });

  it('no mount brings one there', async () => {
    for (const from of ['team/app', 'main/team/app', undefined]) {
      for (const name of ['eve/app', 'main/eve/app', 'eve/app?ns=main.test']) {
        const [repository, ns] = name.split('?');
        const query = `mount=${layer}${from === undefined ? '' : `&from=${from}`}${ns === undefined ? '' : `&${ns}`}`;
        const answer = await ask('eve', `/v2/${repository}/blobs/uploads/?${query}`, { method: 'POST' });
        assert.ok(answer.status === 202 || answer.status === 401, `${answer.status} ${answer.text}`);
        assert.equal((await ask('eve', under(name, `blobs/${layer}`))).status, 404);
      }
    }
  });

  it('a token is good for its scope alone, and only as long as the upstream takes it', async () => {
    const own = { authorization: await token('eve', 'repository:eve/app:pull,push') };
    const asked = { authorization: await token('eve', 'repository:team/app:pull') };
    const anns = await token('ann', 'repository:team/app:pull');
    const spoiled = { authorization: `${anns.slice(0, -6)}AAAAAA` };
    for (const headers of [own, asked, spoiled, { authorization: 'Bearer' }, { authorization: 'Bearer ' }]) {
      for (const path of [`blobs/${layer}`, 'manifests/v1']) {
        const answer = await ask(undefined, `/v2/team/app/${path}`, { headers });
        assert.equal(answer.status, 401, answer.text);
        assertTellsNothing(answer, path);
      }
      assert.equal((await ask(undefined, '/starlight/delta?to=team/app:v1', { headers })).status, 401);
    }
    const good = { headers: { authorization: anns } };
    assert.equal((await ask(undefined, `/v2/team/app/blobs/${layer}`, good)).status, 200);
  });

  it("two credentials in one request are refused, whichever is eve's", async () => {
    const [ann, eve] = [authorization('ann'), authorization('eve')].map((one) => one['authorization'] ?? '');
    for (const pair of [`${ann}, ${eve}`, `${eve}, ${ann}`]) {
      const answer = await ask(undefined, `/v2/team/app/blobs/${layer}`, {
        headers: { authorization: pair },
      });
      assert.equal(answer.status, 401, answer.text);
    }
  });

  describe('through an upstream of her own, which lies', () => {
    /** Says that it has everything: manifests whose bytes eve knows, and of blobs the sizes that they name. */
    const liar: Script = (request, response) => {
      const url = request.url ?? '';
      const known = url.includes('/manifests/')
        ? secret.manifest
        : secret.blobs.find(({ digest }) => url.endsWith(digest));
      if (known === undefined) return void response.writeHead(404).end('{"errors":[]}');
      const { digest, bytes, mediaType } = known;
      response.writeHead(200, {
        'Content-Length': bytes.byteLength,
        'Content-Type': mediaType,
        'Docker-Content-Digest': digest,
      });
      if (request.method === 'HEAD') return void response.end();
      return void response.end(url.includes('/manifests/') ? bytes : Buffer.alloc(bytes.byteLength, 'x'));
    };

    it('no blob comes out of the cache of another, however it is asked for', async () => {
      script = liar;
      for (const digest of [layer, config]) {
        for (const [what, call] of CALLS) {
          const answer = await ask('eve', `/v2/evil/x/blobs/${digest}`, call()).catch(() => undefined);
          // A whole one is cut, since its digest is wrong; what is told of it is what the liar says.
          for (const { bytes } of secret.blobs) {
            assert.ok(answer?.bytes.includes(bytes.subarray(0, 16)) !== true, what);
          }
        }
      }
    });

    for (const [what, honest] of [
      ['nothing', []],
      ['the config', [0]],
    ] as const) {
      it(`no bundle, config or table comes out of the directory to who has ${what}`, async () => {
        script = (request, response) => {
          const own = secret.blobs.find(({ digest }, row) => {
            return honest.some((one) => one === row) && request.url?.endsWith(digest) === true;
          });
          if (own === undefined) return liar(request, response);
          return void response.writeHead(200, { 'Content-Length': own.bytes.byteLength }).end(own.bytes);
        };
        for (const to of ['evil/x:v1', `evil/x@${secret.manifest.digest}`]) {
          for (const path of [`/starlight/delta?to=${to}`, '/starlight/notify']) {
            const call = path.endsWith('notify')
              ? { method: 'POST', body: JSON.stringify({ reference: to }) }
              : {};
            const answer = await ask('eve', path, call);
            assert.ok([422, 502, 503].includes(answer.status), `${answer.status} ${answer.text}`);
            assertTellsNothing(answer, to);
          }
        }
        const held = `evil/x@${secret.manifest.digest}`;
        const delta = await ask('eve', `/starlight/delta?to=public/app:v1&from=${held}`);
        assert.equal(delta.headers['starlight-unknown-from'], held);
      });
    }

    it('a mount across registries finds nothing', async () => {
      const asked: string[] = [];
      script = (request, response) => {
        asked.push(request.url ?? '');
        response.writeHead(202, { Location: '/v2/x/blobs/uploads/1', 'Content-Length': '0' }).end();
      };
      for (const from of ['main/team/app', 'team/app']) {
        const query = `mount=${layer}&from=${from}`;
        const answer = await ask('eve', `/v2/evil/x/blobs/uploads/?${query}`, { method: 'POST' });
        assert.equal(answer.status, 202);
      }
      assert.deepEqual(asked, ['/v2/x/blobs/uploads/', '/v2/x/blobs/uploads/']);
    });

    it('a redirect to what is private is followed as nobody', async () => {
      script = (_, response) =>
        void response
          .writeHead(307, { Location: `http://${registry.host}/v2/team/app/blobs/${layer}` })
          .end();
      const answer = await ask('ann', `/v2/evil/x/blobs/${layer}`);
      assert.equal(answer.status, 401);
      assertTellsNothing(answer, 'redirect');
    });

    it('nothing that others send to the first is sent to the second', async () => {
      const before = evil.requests.length;
      await ask('ann', `/starlight/delta?to=team/app:v1&from=public/app@${open.manifest.digest}`);
      await ask('ann', `/v2/team/app/blobs/${layer}`);
      assert.equal(evil.requests.length, before);
    });
  });

  it('ann herself still gets all of it', async () => {
    for (const name of NAMES) {
      const answer = await ask('ann', under(name, `blobs/${layer}`));
      assert.equal(digestOf(answer.bytes), layer);
    }
    const listed = await ask('ann', `/v2/team/app/referrers/${secret.manifest.digest}`, {
      headers: { accept: MEDIA_TYPE.ociIndex },
    });
    assert.deepEqual(parseIndex(listed.bytes).manifests, []);
  });
});
