import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { convert } from '../../schemas/image/convert.ts';
import { Endpoints } from '../../schemas/image/open-image.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { parseIndex, parseManifest } from '../../schemas/oci/types.ts';
import { basicAuthorization } from '../../schemas/registry-auth/credentials.ts';
import { unpackBundle } from '../extensions/starlight/unpack-bundle.ts';
import { makeLayout } from '../support/images.ts';
import { OPEN_SESAME } from '../support/open-sesame.ts';
import { ProxyProcess } from '../support/proxy-process.ts';
import { exchange, type RawAnswer, type RawCall, rawCall } from '../support/raw-http.ts';
import { directory, file } from '../support/tar.ts';

const SIGNAL = new AbortController().signal;
const PASSWORD = 'open sesame';
const RULES = [
  { repositories: 'team/**', users: ['ann'], allow: ['pull', 'push', 'delete'] },
  { repositories: 'eve/**', users: ['eve'], allow: ['pull', 'push', 'delete'] },
  { repositories: 'drop/**', users: 'authenticated', allow: ['push'] },
  { repositories: 'shared/**', users: 'authenticated', allow: ['pull', 'push'] },
  { repositories: 'public/**', users: 'anonymous', allow: ['pull'] },
  { repositories: 'public/**', users: ['ann'], allow: ['push'] },
];

/** Undefined is whoever does not log in. */
type User = 'ann' | 'eve' | undefined;

// ann's image in team/app is private; eve is a user of the same registry, who may use eve/ and what is public.
describe('attacks on the embedded registry', function () {
  this.timeout(180_000);
  let root: string;
  let users: string;
  let proxy: ProxyProcess;
  /** Of the private image: everything that eve might have heard of. */
  let secret: { manifest: Digest; layer: Digest; config: Digest; toc: Digest; tocArtifact: Digest };
  let open: Digest;

  const authorization = (user: User): Record<string, string> =>
    user === undefined ? {} : { authorization: basicAuthorization({ username: user, password: PASSWORD }) };

  const ask = (user: User, target: string, { headers, ...call }: RawCall = {}): Promise<RawAnswer> =>
    rawCall(proxy.port, target, { ...call, headers: { ...authorization(user), ...headers } });

  const post = (user: User, target: string, body: unknown) =>
    ask(user, target, { method: 'POST', body: JSON.stringify(body) });

  const code = ({ text }: RawAnswer): unknown => (text === '' ? undefined : JSON.parse(text).errors[0].code);

  async function pushConverted(tag: string, name: string): Promise<Digest> {
    await using endpoints = new Endpoints({
      source: `oci:${join(root, 'layout')}:${tag}`,
      destination: `${proxy.host}/${name}`,
      credentials: () => Promise.resolve({ username: 'ann', password: PASSWORD }),
      insecureSource: true,
      insecureDestination: true,
    });
    return (await convert(endpoints.source, endpoints.sink, {}, SIGNAL)).root.digest;
  }

  async function pushBlob(user: User, name: string, bytes: Uint8Array | string): Promise<Digest> {
    const digest = digestOf(bytes);
    const put = await ask(user, `/v2/${name}/blobs/uploads/?digest=${digest}`, {
      method: 'POST',
      body: bytes,
    });
    assert.equal(put.status, 201, put.text);
    return digest;
  }

  const putManifest = (user: User, name: string, reference: string, type: string, manifest: unknown) =>
    ask(user, `/v2/${name}/manifests/${reference}`, {
      method: 'PUT',
      headers: { 'content-type': type },
      body: JSON.stringify(manifest),
    });

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'starlight-test-attacks-'));
    users = join(root, 'htpasswd');
    await writeFile(users, `ann:${OPEN_SESAME}\neve:${OPEN_SESAME}\n`);
    makeLayout(
      join(root, 'layout'),
      ['secret', 'open'].map((tag) => ({
        tag,
        layers: [
          [directory('bin'), file('bin/app', `the ${tag} program`), file('bin/data', randomBytes(300_000))],
        ],
      })),
    );
    proxy = await ProxyProcess.start(join(root, 'proxy'), [
      ...['--access-htpasswd-file', users, '--access-rules', JSON.stringify(RULES)],
    ]);
    const manifest = await pushConverted('secret', 'team/app:v1');
    open = await pushConverted('open', 'public/app:v1');
    const read = async (path: string) => Buffer.from((await ask('ann', `/v2/team/app/${path}`)).text);
    const { layers, config } = parseManifest(await read(`manifests/${manifest}`));
    const tocArtifact = parseIndex(await read(`referrers/${manifest}`)).manifests[0]?.digest;
    assert.ok(tocArtifact !== undefined, 'a converted image has its table as a referrer');
    const toc = parseManifest(await read(`manifests/${tocArtifact}`)).layers[0]?.digest;
    assert.ok(toc !== undefined && layers[0] !== undefined);
    secret = { manifest, layer: layers[0].digest, config: config.digest, toc, tocArtifact };
    for (const [name, user] of [
      ['team/app', 'ann'],
      ['public/app', undefined],
    ] as const) {
      const told = await post(user, '/starlight/notify', { reference: `${name}:v1` });
      assert.equal(told.status, 200, told.text);
    }
    await pushBlob('eve', 'eve/app', 'mine');
  });
  after(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await rm(root, { recursive: true, force: true });
  });

  describe('what may be done, is', () => {
    const CASES: readonly (readonly [user: User, target: () => string])[] = [
      ['ann', () => '/v2/'],
      [undefined, () => '/v2/'],
      ['ann', () => '/v2/team/app/manifests/v1'],
      ['ann', () => `/v2/team/app/blobs/${secret.layer}`],
      ['ann', () => '/v2/team/app/tags/list'],
      ['ann', () => `/v2/team/app/referrers/${secret.manifest}`],
      ['ann', () => '/v2/team/app/_oci/ext/discover'],
      ['ann', () => '/starlight/delta?to=team/app:v1'],
      ['ann', () => `/starlight/delta?to=team/app:v1&from=public/app@${open}`],
      ['eve', () => '/v2/public/app/manifests/v1'],
      [undefined, () => '/v2/public/app/manifests/v1'],
      [undefined, () => '/starlight/delta?to=public/app:v1'],
      [undefined, () => '/v2/_oci/ext/discover'],
      [undefined, () => '/starlight/upstreams'],
      [undefined, () => '/v2/public/app/_oci/ext/discover'],
    ];
    for (const [user, target] of CASES) {
      it(`${user ?? 'nobody'}: ${target.toString().slice(6)}`, async () => {
        const answer = await ask(user, target());
        assert.equal(answer.status, 200, answer.text.slice(0, 500));
      });
    }
  });

  describe('what is private is refused before anything is looked up', () => {
    const CASES: readonly (readonly [what: string, target: () => string, call?: RawCall])[] = [
      ['a manifest by tag', () => '/v2/team/app/manifests/v1'],
      ['a manifest by digest', () => `/v2/team/app/manifests/${secret.manifest}`],
      ['a manifest that is looked for', () => '/v2/team/app/manifests/v1', { method: 'HEAD' }],
      ['a blob', () => `/v2/team/app/blobs/${secret.layer}`],
      ['a blob that is looked for', () => `/v2/team/app/blobs/${secret.layer}`, { method: 'HEAD' }],
      ['a part of a blob', () => `/v2/team/app/blobs/${secret.layer}`, { headers: { range: 'bytes=0-9' } }],
      ['the tags', () => '/v2/team/app/tags/list'],
      ['the referrers', () => `/v2/team/app/referrers/${secret.manifest}`],
      ['the table of contents', () => `/v2/team/app/blobs/${secret.toc}`],
      ['its manifest', () => `/v2/team/app/manifests/${secret.tocArtifact}`],
      ['the extensions', () => '/v2/team/app/_oci/ext/discover'],
      ['an upload', () => '/v2/team/app/blobs/uploads/', { method: 'POST' }],
      ['a push', () => '/v2/team/app/manifests/v1', { method: 'PUT', body: '{}' }],
      ['a deletion', () => '/v2/team/app/manifests/v1', { method: 'DELETE' }],
      ['the deletion of a blob', () => `/v2/team/app/blobs/${secret.layer}`, { method: 'DELETE' }],
      ['a bundle', () => '/starlight/delta?to=team/app:v1'],
      ['a bundle by digest', () => `/starlight/delta?to=team/app@${secret.manifest}`],
      ['a bundle of two', () => '/starlight/delta?to=public/app:v1,team/app:v1'],
      [
        'a bundle, by JSON',
        () => '/starlight/delta',
        { method: 'POST', body: '{"to":["team/app:v1"],"from":[],"platform":"linux/amd64"}' },
      ],
      ['an ingest', () => '/starlight/notify', { method: 'POST', body: '{"reference":"team/app:v1"}' }],
    ];
    const nobodys = (text: string) => text.replaceAll('team/app', 'team/none');
    for (const [what, target, call = {}] of CASES) {
      for (const [user, status] of [
        ['eve', 403],
        [undefined, 401],
      ] as const) {
        it(`${what}: ${status} for ${user ?? 'nobody'}, as if it did not exist`, async () => {
          const answer = await ask(user, target(), call);
          assert.equal(answer.status, status);
          const challenge = answer.headers['www-authenticate'];
          assert.equal(challenge, status === 401 ? 'Basic realm="starlight", charset="UTF-8"' : undefined);
          if (call.method !== 'HEAD') assert.equal(code(answer), status === 401 ? 'UNAUTHORIZED' : 'DENIED');
          const body = typeof call.body === 'string' ? { body: nobodys(call.body) } : {};
          const other = await ask(user, nobodys(target()), { ...call, ...body });
          assert.deepEqual([other.status, other.text], [answer.status, answer.text]);
        });
      }
    }

    it('a report: of an image that is there as of one that is not', async () => {
      for (const [user, status] of [
        ['eve', 403],
        [undefined, 401],
      ] as const) {
        const traces = [{ opens: ['bin/app'] }];
        const texts = new Set<string>();
        for (const name of ['team/app', 'team/none']) {
          const answer = await post(user, '/starlight/report', { image: secret.manifest, name, traces });
          assert.equal(answer.status, status);
          texts.add(answer.text);
        }
        assert.equal(texts.size, 1);
      }
      const told = await post('ann', '/starlight/report', {
        image: secret.manifest,
        name: 'team/app',
        traces: [],
      });
      assert.equal(told.status, 200);
    });
  });

  describe("a digest that exists in another repository, asked for through one's own", () => {
    const CASES: readonly (readonly [what: string, target: () => string])[] = [
      ['a layer', () => `/v2/eve/app/blobs/${secret.layer}`],
      ['a config', () => `/v2/eve/app/blobs/${secret.config}`],
      ['a table of contents', () => `/v2/eve/app/blobs/${secret.toc}`],
      ['a manifest', () => `/v2/eve/app/manifests/${secret.manifest}`],
      ['a manifest as a blob', () => `/v2/eve/app/blobs/${secret.manifest}`],
      ["a table's manifest", () => `/v2/eve/app/manifests/${secret.tocArtifact}`],
      ['a bundle', () => `/starlight/delta?to=eve/app@${secret.manifest}`],
    ];
    for (const [what, target] of CASES) {
      it(`${what} is unknown`, async () => {
        const answer = await ask('eve', target());
        assert.equal(answer.status, 404);
        assert.match(String(code(answer)), /^(?:BLOB|MANIFEST)_UNKNOWN$/);
      });
    }

    it('has no referrers', async () => {
      const answer = await ask('eve', `/v2/eve/app/referrers/${secret.manifest}`);
      assert.deepEqual(parseIndex(Buffer.from(answer.text)).manifests, []);
    });

    it('cannot be taken in by a manifest that names it', async () => {
      const config = {
        mediaType: MEDIA_TYPE.ociConfig,
        digest: await pushBlob('eve', 'eve/app', '{}'),
        size: 2,
      };
      const layer = { mediaType: MEDIA_TYPE.ociLayerGzip, digest: secret.layer, size: 100 };
      const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers: [layer] };
      const answer = await putManifest('eve', 'eve/app', 'taken', MEDIA_TYPE.ociManifest, manifest);
      assert.deepEqual([answer.status, code(answer)], [404, 'MANIFEST_BLOB_UNKNOWN']);
    });

    it('is not sent by a bundle of an index that names it', async () => {
      const entry = {
        mediaType: MEDIA_TYPE.ociManifest,
        digest: secret.manifest,
        size: 1000,
        platform: { os: 'linux', architecture: 'amd64' },
      };
      const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [entry] };
      const put = await putManifest('eve', 'eve/app', 'index', MEDIA_TYPE.ociIndex, index);
      assert.equal(put.status, 201, put.text);
      const answer = await ask('eve', '/starlight/delta?to=eve/app:index');
      assert.deepEqual([answer.status, code(answer)], [404, 'MANIFEST_UNKNOWN']);
      const told = await post('eve', '/starlight/notify', { reference: 'eve/app:index' });
      assert.equal(told.status, 422, told.text);
    });

    it('is not read through a manifest whose layer claims to lie elsewhere', async () => {
      const read = await ask('ann', '/v2/team/app/manifests/v1');
      const stolen = JSON.parse(read.text);
      stolen.config.digest = await pushBlob('eve', 'eve/app', '{"rootfs":{"type":"layers","diff_ids":[]}}');
      for (const layer of stolen.layers) layer.urls = ['http://127.0.0.1:1/'];
      const put = await putManifest('eve', 'eve/app', 'elsewhere', MEDIA_TYPE.ociManifest, stolen);
      assert.equal(put.status, 201, put.text);
      const answer = await ask('eve', '/starlight/delta?to=eve/app:elsewhere');
      assert.ok(answer.status === 404 || answer.status === 422, `${answer.status}`);
    });
  });

  describe('a mount', () => {
    const mount = (user: User, name: string, from: string | undefined, digest: Digest) => {
      const query = new URLSearchParams({ mount: digest, ...(from === undefined ? {} : { from }) });
      return ask(user, `/v2/${name}/blobs/uploads/?${query}`, { method: 'POST' });
    };
    const unknown = digestOf('nobody has this');

    for (const from of ['team/app', undefined]) {
      it(`${from === undefined ? 'without from' : 'from a private repository'} finds nothing there`, async () => {
        const answer = await mount('eve', 'eve/mounted', from, secret.layer);
        assert.equal(answer.status, 202);
        const none = await mount('eve', 'eve/mounted', from, unknown);
        assert.equal(none.status, 202, 'as with a blob that is not there');
        assert.deepEqual(Object.keys(answer.headers).sort(), Object.keys(none.headers).sort());
        assert.equal((await ask('eve', `/v2/eve/mounted/blobs/${secret.layer}`)).status, 404);
      });
    }

    it('finds what the caller may pull, with from and without', async () => {
      const layer = parseManifest(Buffer.from((await ask('eve', '/v2/public/app/manifests/v1')).text))
        .layers[0];
      assert.ok(layer !== undefined);
      assert.equal((await mount('eve', 'eve/one', 'public/app', layer.digest)).status, 201);
      assert.equal((await mount('ann', 'team/two', undefined, secret.layer)).status, 201);
    });

    it('into a repository that one may push to and not pull from tells nothing of it', async () => {
      const hidden = await pushBlob('ann', 'drop/box', 'hidden');
      assert.equal((await mount('eve', 'drop/box', undefined, hidden)).status, 202);
      assert.equal((await ask('eve', `/v2/drop/box/blobs/${hidden}`)).status, 403);
    });

    it('into a private repository is refused', async () => {
      assert.equal((await mount('eve', 'team/app', 'public/app', unknown)).status, 403);
      assert.equal((await mount(undefined, 'public/app', 'public/app', unknown)).status, 401);
    });
  });

  describe('a delta bundle', () => {
    it('whose from is private counts it as unknown, whether or not it exists', async () => {
      const contents = async ({ bytes }: RawAnswer) => [...(await unpackBundle(bytes)).contents.keys()];
      const all = await contents(await ask('eve', '/starlight/delta?to=public/app:v1'));
      assert.equal(all.length, 2);
      for (const digest of [secret.manifest, digestOf('no image')]) {
        const answer = await ask('eve', `/starlight/delta?to=public/app:v1&from=team/app@${digest}`);
        assert.equal(answer.status, 200);
        assert.equal(answer.headers['starlight-unknown-from'], `team/app@${digest}`);
        assert.deepEqual(await contents(answer), all, 'nothing is left out for it');
      }
      // What ann is answered shows that it would be known.
      const known = await ask('ann', `/starlight/delta?to=public/app:v1&from=team/app@${secret.manifest}`);
      assert.equal(known.headers['starlight-unknown-from'], undefined);
    });

    it("is not had by another's ETag, which is in the cache", async () => {
      const etag = (await ask('ann', '/starlight/delta?to=team/app:v1')).headers['etag'] ?? '';
      for (const headers of [{ 'if-none-match': etag }, { 'if-range': etag, range: 'bytes=10-' }]) {
        assert.equal((await ask('eve', '/starlight/delta?to=team/app:v1', { headers })).status, 403);
        const own = await ask('eve', '/starlight/delta?to=public/app:v1', { headers });
        assert.equal(own.status, 200);
        assert.notEqual(own.headers['etag'], etag);
      }
    });
  });

  describe("another user's upload", () => {
    const calls: readonly RawCall[] = [
      { method: 'GET' },
      { method: 'PATCH', body: 'x' },
      { method: 'PUT', body: 'x' },
      { method: 'DELETE' },
    ];

    it('is unknown to everybody else, and in every other repository', async () => {
      const started = await ask('ann', '/v2/shared/box/blobs/uploads/', { method: 'POST' });
      const location = started.headers['location'] ?? '';
      assert.match(location, /^\/v2\/shared\/box\/blobs\/uploads\/[0-9a-f-]{36}$/);
      const elsewhere = location.replace('shared/box', 'shared/other');
      for (const call of calls) {
        const target = call.method === 'PUT' ? `?digest=${digestOf('x')}` : '';
        for (const [user, place] of [
          ['eve', location],
          ['eve', elsewhere],
          ['ann', elsewhere],
        ] as const) {
          const answer = await ask(user, `${place}${target}`, call);
          assert.deepEqual(
            [answer.status, code(answer)],
            [404, 'BLOB_UPLOAD_UNKNOWN'],
            `${call.method} ${user}`,
          );
        }
      }
      const rest = await ask('ann', `${location}?digest=${digestOf('mine')}`, {
        method: 'PUT',
        body: 'mine',
      });
      assert.equal(rest.status, 201, rest.text);
    });

    it('is not taken by a session of the same name with a path in it', async () => {
      for (const session of ['..%2f..%2f..%2fhtpasswd', '%2e%2e', 'a%00b', '.', `${'a'.repeat(3000)}`]) {
        const answer = await ask('eve', `/v2/eve/app/blobs/uploads/${session}`);
        assert.equal(answer.status, 404, session.slice(0, 40));
      }
    });
  });

  describe('a path with tricks', () => {
    const TARGETS: readonly string[] = [
      '/v2/eve/../team/app/manifests/v1',
      '/v2/eve/%2e%2e/team/app/manifests/v1',
      '/v2/eve/..%2fteam%2fapp/manifests/v1',
      '/v2/eve%2f..%2fteam%2fapp/manifests/v1',
      '/v2/eve/..%5cteam/app/manifests/v1',
      '/v2/team%2fapp/manifests/v1',
      '/v2/team%2Fapp%2Fmanifests%2Fv1',
      '/v2//team/app/manifests/v1',
      '/v2/team//app/manifests/v1',
      '/v2/./team/app/manifests/v1',
      '/v2/team/app/manifests/v1/',
      '/v2/team/app/manifests/../manifests/v1',
      '/v2/eve/app/manifests/..%2f..%2f..%2fteam%2fapp%2fmanifests%2fv1',
      '/v2/eve/app/manifests/../../../team/app/manifests/v1',
      '/v2/eve/app/blobs/..%2f..%2f..%2f..%2fhtpasswd',
      '/v2/eve/app/blobs/sha256:..%2f..%2f..%2f..%2findex.json',
      '/v2/eve/app/_layout/blobs/sha256',
      '/v2/eve/app/_uploads/blobs/uploads/x',
      '/v2/TEAM/app/manifests/v1',
      '/v2/team/app%00/manifests/v1',
      '/v2/team/app%20/manifests/v1',
      '/v2/%74eam/app/manifests/v1',
      '/v2/team/app/manifests/v1?ns=team',
      '/V2/team/app/manifests/v1',
      '//v2/team/app/manifests/v1',
      '/v2/%ff/manifests/v1',
      '/v2/team/app/manifests/v1;x=y',
      'http://127.0.0.1/v2/team/app/manifests/v1',
      `/v2/${'a/'.repeat(1000)}a/manifests/v1`,
      `/v2/${'a'.repeat(300)}/manifests/v1`,
      `/v2/eve/app/manifests/${'v'.repeat(4000)}`,
    ];
    for (const target of TARGETS) {
      it(`${target.slice(0, 80)} leads nowhere`, async () => {
        const answer = await ask('eve', target);
        assert.ok([400, 403, 404].includes(answer.status), `${answer.status} ${answer.text.slice(0, 200)}`);
        assert.notEqual(code(answer), undefined);
        assert.ok(!answer.text.includes(secret.layer));
      });
    }
  });

  describe('a request with two meanings', () => {
    const ANN = `Authorization: ${basicAuthorization({ username: 'ann', password: PASSWORD })}`;
    const EVE = `Authorization: ${basicAuthorization({ username: 'eve', password: PASSWORD })}`;
    const HIDDEN = `GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\n${EVE}\r\n\r\n`;
    const POST = `POST /v2/eve/app/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n${EVE}\r\n`;
    const CASES: readonly (readonly [what: string, text: string])[] = [
      ['two lengths', `${POST}Content-Length: 0\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`],
      [
        'a length and chunks',
        `${POST}Content-Length: ${HIDDEN.length + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${HIDDEN}`,
      ],
      ['chunks spelled with a blank', `${POST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`],
      ['chunks that are not last', `${POST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
      ['a folded header', `${POST}X-A: b\r\n Content-Length: 5\r\n\r\n`],
      ['a bare CR in a header', `${POST}X-A: b\rContent-Length: 5\r\n\r\n`],
      ['a NUL in a header', `${POST}X-A: b\0c\r\n\r\n`],
      ['no host', `GET /v2/ HTTP/1.1\r\n${EVE}\r\n\r\n`],
      ['a length with a sign', `${POST}Content-Length: +5\r\n\r\nhello`],
      ['a chunk with a sign', `${POST}Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n`],
    ];
    for (const [what, text] of CASES) {
      it(`${what} is refused, and the connection closed`, async () => {
        const answer = await exchange(proxy.port, text);
        assert.match(answer, /^HTTP\/1\.1 400 /);
        assert.equal(answer.split('HTTP/1.1 ').length, 2, 'there is one answer');
      });
    }

    for (const [what, headers] of [
      ['of two users', `${EVE}\r\n${ANN}`],
      ['of two users, the other way round', `${ANN}\r\n${EVE}`],
    ] as const) {
      it(`credentials ${what} are never those of the second`, async () => {
        const text = `GET /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n\r\n`;
        assert.match(await exchange(proxy.port, text), /^HTTP\/1\.1 400 /);
      });
    }
  });

  describe('credentials', () => {
    const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
    const BAD: readonly (readonly [what: string, value: string])[] = [
      ['a wrong password', basic('ann:wrong')],
      ['an empty password', basic('ann:')],
      ['a user who is none', basic('nobody:open sesame')],
      ['no colon', basic('ann')],
      ['no user', basic(':open sesame')],
      ['another scheme', 'Bearer abc'],
      ['nothing', ''],
      ['a scheme alone', 'Basic'],
      ['what is not base64', 'Basic ???'],
      ['a NUL at the end', basic('ann:open sesame\0')],
      ['the hash itself', basic(`ann:${OPEN_SESAME}`)],
      ['a password without end', basic(`ann:${'x'.repeat(5000)}`)],
    ];
    for (const [what, value] of BAD) {
      it(`${what}: 401, even where none are needed`, async () => {
        const answer = await ask(undefined, '/v2/public/app/manifests/v1', {
          headers: { authorization: value },
        });
        assert.deepEqual([answer.status, code(answer)], [401, 'UNAUTHORIZED']);
        const delta = '/starlight/delta?to=public/app:v1';
        assert.equal((await ask(undefined, delta, { headers: { authorization: value } })).status, 401);
      });
    }

    it('of a user who is added or taken away count without a restart', async () => {
      const asNew = { headers: { authorization: basic('new:open sesame') } };
      const status = async () => (await ask(undefined, '/v2/shared/x/tags/list', asNew)).status;
      const until = async (wanted: number) => {
        process.kill(proxy.server.pid, 'SIGHUP');
        while ((await status()) !== wanted) await new Promise(setImmediate);
      };
      assert.equal(await status(), 401);
      await appendFile(users, `new:${OPEN_SESAME}\n`);
      await until(404); // who it is is known; that repository is not
      await writeFile(users, `ann:${OPEN_SESAME}\neve:${OPEN_SESAME}\n`);
      await until(401);
    });
  });

  describe('notify', () => {
    let trap: Server;
    let visits = 0;
    before(async () => {
      trap = createServer((socket) => {
        visits += 1;
        socket.destroy();
      });
      trap.listen(0, '127.0.0.1');
      await once(trap, 'listening');
    });
    after(() => trap?.close());

    it('reaches no host that a caller names', async () => {
      const host = `127.0.0.1:${(trap.address() as AddressInfo).port}`; // it listens on TCP
      const bodies = [
        { reference: 'public/app:v1', ns: host },
        { reference: `${host}/public/app:v1` },
        { reference: 'public/app:v1', ns: `http://${host}/` },
        { reference: `http://${host}/public/app:v1` },
        { reference: 'public/app:v1', ns: `x@${host}` },
      ];
      for (const body of bodies) await post('ann', '/starlight/notify', body);
      await ask('ann', `/starlight/delta?to=public/app:v1&ns=${host}`);
      await ask('ann', `/v2/public/app/manifests/v1?ns=${host}`);
      await using front = await ProxyProcess.start(join(root, 'front'), [
        ...['--upstream-url', proxy.url, '--upstream-namespace', 'registry.test'],
      ]);
      for (const body of bodies) {
        const answer = await rawCall(front.port, '/starlight/notify', {
          method: 'POST',
          body: JSON.stringify(body),
        });
        assert.ok(answer.status >= 400, JSON.stringify(body));
      }
      const named = { reference: 'public/app:v1', ns: 'registry.test' };
      const good = await rawCall(front.port, '/starlight/notify', {
        method: 'POST',
        body: JSON.stringify(named),
      });
      assert.equal(good.status, 200, good.text);
      assert.equal(visits, 0);
    });
  });
});
