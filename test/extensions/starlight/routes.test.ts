import assert from 'node:assert/strict';
import type { Directory } from '../../../extensions/starlight/directory.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { directory as dir, file, hardlink, symlink } from '../../support/tar.ts';
import { FakeRegistry } from './fake-registry.ts';
import { type MadeImage, makeImage } from './made-image.ts';
import { sharedDirectory } from './shared-directory.ts';
import { StarlightApp } from './starlight-app.ts';

const SIGNAL = new AbortController().signal;
let names = 0;

describe('/starlight/notify and /starlight/report', function () {
  this.timeout(60_000);
  let database: Directory;
  let registry: FakeRegistry;
  let app: StarlightApp;
  let name: string;
  let image: MadeImage;

  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const response = await fetch(`${app.url}${path}`, { method: 'POST', body: text, headers });
    return { response, json: (await response.json()) as Record<string, unknown> };
  };
  const codeOf = ({ response, json }: Awaited<ReturnType<typeof post>>) => {
    const [first] = (json['errors'] ?? []) as { code: string }[];
    return `${response.status} ${first?.code}`;
  };

  before(async () => {
    database = await sharedDirectory();
  });
  beforeEach(async () => {
    registry = new FakeRegistry();
    app = await StarlightApp.start({ directory: database, reader: registry, namespace: 'origin.example' });
    name = `routes/n${names++}`;
    image = await makeImage([
      [
        dir('bin'),
        file('bin/app', `${name} app`),
        hardlink('bin/again', 'bin/app'),
        symlink('bin/link', 'app'),
        file('etc/empty', ''),
        file(Buffer.from('etc/\xff', 'latin1'), `${name} raw`),
      ],
    ]);
    registry.push(name, 'v1', image);
  });
  afterEach(() => app[Symbol.asyncDispose]());

  it('notify takes an image in, then knows it', async () => {
    const told = {
      platform: 'linux/amd64',
      manifestDigest: image.manifest.digest,
      tocDigest: image.tocDigest,
    };
    const first = await post('/starlight/notify', { reference: `${name}:v1`, ns: 'origin.example' });
    assert.deepEqual(first.json, { images: [{ ...told, status: 'ingested' }] });
    const again = await post('/starlight/notify', { reference: `${name}@${image.manifest.digest}` });
    assert.deepEqual(again.json, { images: [{ ...told, status: 'already' }] });
  });

  it('report adds up what was opened, by file and not by name', async () => {
    await post('/starlight/notify', { reference: `${name}:v1` });
    const raw = { b64: Buffer.from('etc/\xff', 'latin1').toString('base64') };
    const traces = [
      { opens: ['nowhere', 'bin', 'bin/link', 'etc/empty', raw, 'bin/again', '/bin/app'] },
      { opens: ['bin/app'] },
      { opens: [] },
    ];
    const { json } = await post('/starlight/report', { image: image.manifest.digest, name, traces });
    assert.deepEqual(json, { accepted: 3 });
    const { version, ranks } = await database.ranks(image.manifest.digest, SIGNAL);
    assert.equal(version, 1);
    const rows = ranks.map((row) => [Buffer.from(row.path).toString('latin1'), row.rankSum, row.hits]);
    assert.deepEqual(
      new Set(rows.map((row) => row.join())),
      new Set(['etc/\xff,0,1', `${rows.find(([path]) => String(path).startsWith('bin/'))?.[0]},1,2`]),
    );
  });

  it('report without anything to add changes nothing', async () => {
    await post('/starlight/notify', { reference: `${name}:v1` });
    const body = { image: image.manifest.digest, name, traces: [{ opens: ['nowhere'] }] };
    assert.deepEqual((await post('/starlight/report', body)).json, { accepted: 0 });
    assert.equal((await database.ranks(image.manifest.digest, SIGNAL)).version, 0);
  });

  const REFUSED: readonly (readonly [what: string, path: string, body: () => unknown, code: string])[] = [
    ['no JSON', '/starlight/notify', () => '{', '400 INVALID_REQUEST'],
    ['nothing', '/starlight/notify', () => '', '400 INVALID_REQUEST'],
    ['no reference', '/starlight/notify', () => ({}), '400 INVALID_REQUEST'],
    ['a malformed reference', '/starlight/notify', () => ({ reference: 'A:b:c' }), '400 INVALID_REQUEST'],
    [
      'a host in the name',
      '/starlight/notify',
      () => ({ reference: 'evil.example/a:b' }),
      '400 INVALID_REQUEST',
    ],
    [
      'another registry',
      '/starlight/notify',
      () => ({ reference: 'a:b', ns: 'evil.example' }),
      '404 NAME_UNKNOWN',
    ],
    ['an unknown tag', '/starlight/notify', () => ({ reference: `${name}:v9` }), '404 MANIFEST_UNKNOWN'],
    [
      'a body too large',
      '/starlight/notify',
      () => ({ reference: `${name}:v1`, pad: 'x'.repeat(20_000) }),
      '413 SIZE_INVALID',
    ],
    ['no JSON', '/starlight/report', () => 'x', '400 INVALID_REQUEST'],
    ['no image', '/starlight/report', () => ({ name, traces: [] }), '400 INVALID_REQUEST'],
    [
      'a malformed digest',
      '/starlight/report',
      () => ({ image: 'x', name, traces: [] }),
      '400 INVALID_REQUEST',
    ],
    [
      'a malformed name',
      '/starlight/report',
      () => ({ image: digestOf('x'), name: '../x', traces: [] }),
      '400 INVALID_REQUEST',
    ],
    [
      'a path too long',
      '/starlight/report',
      () => ({ image: digestOf('x'), name, traces: [{ opens: ['x'.repeat(5000)] }] }),
      '400 INVALID_REQUEST',
    ],
    [
      'what is no base64',
      '/starlight/report',
      () => ({ image: digestOf('x'), name, traces: [{ opens: [{ b64: '!' }] }] }),
      '400 INVALID_REQUEST',
    ],
    [
      'too many traces',
      '/starlight/report',
      () => ({ image: digestOf('x'), name, traces: Array.from({ length: 65 }, () => ({ opens: [] })) }),
      '400 INVALID_REQUEST',
    ],
    [
      'an unknown image',
      '/starlight/report',
      () => ({ image: digestOf('x'), name, traces: [] }),
      '404 MANIFEST_UNKNOWN',
    ],
    [
      'an image that was not taken in',
      '/starlight/report',
      () => ({ image: image.manifest.digest, name, traces: [] }),
      '404 MANIFEST_UNKNOWN',
    ],
    [
      'another registry',
      '/starlight/report',
      () => ({ image: image.manifest.digest, name, traces: [], ns: 'evil.example' }),
      '404 NAME_UNKNOWN',
    ],
  ];
  for (const [what, path, body, code] of REFUSED) {
    it(`${path} refuses ${what}`, async () => {
      assert.equal(codeOf(await post(path, body())), code);
    });
  }

  it('passes on that the registry wants credentials, or denies', async () => {
    registry.repository(name).owner = 'Bearer owner';
    const body = { reference: `${name}:v1` };
    const anonymous = await post('/starlight/notify', body);
    assert.equal(codeOf(anonymous), '401 UNAUTHORIZED');
    assert.match(anonymous.response.headers.get('www-authenticate') ?? '', /^Bearer realm=/);
    const stranger = await post('/starlight/notify', body, { authorization: 'Bearer other' });
    assert.equal(codeOf(stranger), '403 DENIED');
    const owner = await post('/starlight/notify', body, { authorization: 'Bearer owner' });
    assert.equal(owner.response.status, 200);
  });

  it('wants the token when one is configured, for notify and report alone', async () => {
    await using guarded = await StarlightApp.start({
      directory: database,
      reader: registry,
      token: 'secret token',
    });
    const ask = (path: string, headers: Record<string, string>, method = 'POST') =>
      fetch(`${guarded.url}${path}`, { method, headers, ...(method === 'POST' ? { body: '{}' } : {}) });
    const wrong = [{}, { 'starlight-token': '' }, { 'starlight-token': 'secret toke' }];
    for (const headers of [...wrong, { authorization: 'Bearer secret token' }]) {
      for (const path of ['/starlight/notify', '/starlight/report']) {
        assert.equal((await ask(path, headers as Record<string, string>)).status, 403);
      }
    }
    assert.equal((await ask('/starlight/notify', { 'starlight-token': 'secret token' })).status, 400);
    assert.equal((await ask('/v2/_oci/ext/discover', {}, 'GET')).status, 200);
    assert.equal((await ask('/starlight/upstreams', {}, 'GET')).status, 200);
    assert.equal((await ask('/starlight/upstreams', {}, 'POST')).status, 405);
    assert.equal((await ask(`/starlight/delta?to=${name}:v1`, {}, 'GET')).status, 200);
  });

  const DISCOVERY: readonly (readonly [path: string, announced: boolean])[] = [
    ['/v2/_oci/ext/discover', true],
    ['/v2/a/b/_oci/ext/discover', true],
    ['/v2/UPPER/_oci/ext/discover', false],
    ['/v2/_oci/ext/other', false],
    ['/v2//_oci/ext/discover', false],
  ];
  for (const [path, announced] of DISCOVERY) {
    it(`${announced ? 'announces itself' : 'is silent'} at ${path}`, async () => {
      const response = await fetch(`${app.url}${path}`);
      const text = await response.text();
      assert.equal(response.status === 200 && text.includes('"_starlight"'), announced);
    });
  }
});
