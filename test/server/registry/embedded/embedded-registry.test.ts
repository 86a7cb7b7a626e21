import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { digestOf } from '../../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../../schemas/oci/media-types.ts';
import { parseIndex } from '../../../../schemas/oci/types.ts';
import { DEFAULT_LIMITS } from '../../../../server/limits/config.ts';
import { EmbeddedRegistry } from '../../../../server/registry/embedded/embedded-registry.ts';
import { LocalApp } from '../../../support/local-app.ts';

const CONFIG = Buffer.from('{"architecture":"amd64","os":"linux"}');
const ABSENT = `sha256:${'0'.repeat(64)}`;

let dir: string;
let app: LocalApp;
let now: number;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'starlight-embedded-'));
  now = Date.now();
  app = await LocalApp.start(new EmbeddedRegistry(dir, () => now));
});
afterEach(async () => {
  await app[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

function call(
  method: string,
  path: string,
  body?: Uint8Array | string,
  headers?: Record<string, string>,
): Promise<Response> {
  return fetch(`${app.url}/v2/${path}`, {
    method,
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : Buffer.from(body) }),
    ...(headers === undefined ? {} : { headers }),
  });
}

/** The status and the first error's code. */
async function refusal(response: Response): Promise<string> {
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  assert.ok((errors[0]?.message ?? '') !== '');
  return `${response.status} ${errors[0]?.code}`;
}

async function pushBlob(bytes: Uint8Array, name = 'a/b'): Promise<string> {
  const digest = digestOf(bytes);
  const answer = await call('POST', `${name}/blobs/uploads/?digest=${digest}`, bytes);
  assert.equal(answer.status, 201, await answer.text());
  return digest;
}

function manifestOf(extra: object = {}): string {
  const config = { mediaType: MEDIA_TYPE.ociConfig, digest: digestOf(CONFIG), size: CONFIG.length };
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config,
    layers: [],
    ...extra,
  });
}

async function pushManifest(reference: string, document: string, name = 'a/b'): Promise<Response> {
  await pushBlob(CONFIG, name);
  return call('PUT', `${name}/manifests/${reference}`, document, { 'Content-Type': MEDIA_TYPE.ociManifest });
}

async function beginUpload(query = ''): Promise<string> {
  const begun = await call('POST', `a/b/blobs/uploads/${query}`);
  assert.equal(begun.status, 202);
  assert.equal(begun.headers.get('range'), '0-0');
  return (begun.headers.get('location') ?? '').replace('/v2/', '');
}

async function tags(name = 'a/b', query = ''): Promise<string[]> {
  return ((await (await call('GET', `${name}/tags/list${query}`)).json()) as { tags: string[] }).tags;
}

describe('EmbeddedRegistry, blobs', () => {
  const BYTES = randomBytes(2048);
  const READS: readonly (readonly [
    string,
    Record<string, string>,
    number,
    string | null,
    (b: Buffer) => Buffer,
  ])[] = [
    ['whole', {}, 200, null, (b) => b],
    ['a range', { Range: 'bytes=500-1499' }, 206, 'bytes 500-1499/2048', (b) => b.subarray(500, 1500)],
    ['from an offset', { Range: 'bytes=500-' }, 206, 'bytes 500-2047/2048', (b) => b.subarray(500)],
    ['a suffix', { Range: 'bytes=-500' }, 206, 'bytes 1548-2047/2048', (b) => b.subarray(1548)],
    ['past the end', { Range: 'bytes=1000-9999' }, 206, 'bytes 1000-2047/2048', (b) => b.subarray(1000)],
    ['two ranges', { Range: 'bytes=0-1,4-5' }, 200, null, (b) => b],
    ['a range of another version', { Range: 'bytes=0-1', 'If-Range': '"other"' }, 200, null, (b) => b],
    ['a range outside', { Range: 'bytes=5000-10000' }, 416, 'bytes */2048', () => Buffer.of()],
    ['nothing new', { 'If-None-Match': `"${digestOf(BYTES)}"` }, 304, null, () => Buffer.of()],
  ];
  for (const [title, headers, status, contentRange, part] of READS) {
    it(`reads ${title}`, async () => {
      const digest = await pushBlob(BYTES);
      const answer = await call('GET', `a/b/blobs/${digest}`, undefined, headers);
      assert.equal(answer.status, status);
      assert.equal(answer.headers.get('content-range'), contentRange);
      const body = Buffer.from(await answer.arrayBuffer());
      if (status < 300) {
        assert.equal(answer.headers.get('docker-content-digest'), digest);
        assert.equal(answer.headers.get('content-encoding'), null);
        assert.ok(body.equals(part(BYTES)));
      }
      const head = await call('HEAD', `a/b/blobs/${digest}`, undefined, headers);
      assert.equal(head.status, status);
      assert.equal(head.headers.get('content-length'), answer.headers.get('content-length'));
    });
  }

  it('keeps an empty blob', async () => {
    const digest = await pushBlob(Buffer.of());
    const answer = await call('GET', `a/b/blobs/${digest}`);
    assert.equal(answer.headers.get('content-length'), '0');
    assert.equal((await answer.arrayBuffer()).byteLength, 0);
  });

  it('mounts from a repository by a hard link, and from anywhere where none is named', async () => {
    const digest = await pushBlob(BYTES);
    assert.equal((await call('POST', `c/blobs/uploads/?mount=${digest}&from=a/b`)).status, 201);
    assert.equal((await call('POST', `d/e/blobs/uploads/?mount=${digest}`)).status, 201);
    const inode = async (name: string) =>
      (await stat(join(dir, name, '_layout/blobs/sha256', digest.slice(7)))).ino;
    assert.equal(await inode('c'), await inode('a/b'));
    assert.equal(await inode('d/e'), await inode('a/b'));
    assert.equal((await call('DELETE', `a/b/blobs/${digest}`)).status, 202);
    assert.equal((await call('GET', `c/blobs/${digest}`)).status, 200);
  });

  const UNMOUNTABLE = ['&from=nowhere', '', '&from=../../etc', '&from=A', '&from='];
  for (const from of UNMOUNTABLE) {
    it(`starts an upload where there is nothing to mount (${from})`, async () => {
      const answer = await call('POST', `c/blobs/uploads/?mount=${ABSENT}${from}`);
      assert.equal(answer.status, 202);
      assert.match(answer.headers.get('location') ?? '', /^\/v2\/c\/blobs\/uploads\/[0-9a-f-]{36}$/);
    });
  }

  it('deletes', async () => {
    const digest = await pushBlob(BYTES);
    assert.equal((await call('DELETE', `a/b/blobs/${digest}`)).status, 202);
    assert.equal(await refusal(await call('GET', `a/b/blobs/${digest}`)), '404 BLOB_UNKNOWN');
    assert.equal(await refusal(await call('DELETE', `a/b/blobs/${digest}`)), '404 BLOB_UNKNOWN');
  });

  it('does not delete a manifest as a blob, which would leave its tags behind', async () => {
    await pushManifest('v1', manifestOf());
    assert.equal(
      await refusal(await call('DELETE', `a/b/blobs/${digestOf(manifestOf())}`)),
      '405 UNSUPPORTED',
    );
    assert.equal((await call('GET', 'a/b/manifests/v1')).status, 200);
  });
});

describe('EmbeddedRegistry, uploads', () => {
  const BYTES = randomBytes(1000);
  const DIGEST = digestOf(BYTES);
  const SHA512 = digestOf(BYTES, 'sha512');

  const FINISHES: readonly (readonly [string, string, string])[] = [
    ['sha256', '', DIGEST],
    ['sha512, not announced', '', SHA512],
    ['sha512, announced', '?digest-algorithm=sha512', SHA512],
    ['sha256, another announced', '?digest-algorithm=sha512', DIGEST],
  ];
  for (const [title, query, digest] of FINISHES) {
    it(`takes chunks in order (${title})`, async () => {
      const at = await beginUpload(query);
      const first = await call('PATCH', at, BYTES.subarray(0, 400), { 'Content-Range': '0-399' });
      assert.equal(first.status, 202);
      assert.equal(first.headers.get('range'), '0-399');
      assert.equal((await call('PATCH', at, BYTES.subarray(400, 700))).headers.get('range'), '0-699');
      const status = await call('GET', at);
      assert.equal(status.status, 204);
      assert.equal(status.headers.get('range'), '0-699');
      const done = await call('PUT', `${at}?digest=${digest}`, BYTES.subarray(700), {
        'Content-Range': '700-999',
      });
      assert.equal(done.status, 201);
      assert.equal(done.headers.get('docker-content-digest'), digest);
      const pulled = await fetch(`${app.url}${done.headers.get('location')}`);
      assert.ok(Buffer.from(await pulled.arrayBuffer()).equals(BYTES));
      assert.equal((await call('GET', at)).status, 404);
      assert.deepEqual(await readdir(join(dir, 'a/b/_uploads')), []);
    });
  }

  it('goes on after a restart of the registry', async () => {
    const at = await beginUpload();
    await call('PATCH', at, BYTES.subarray(0, 400));
    await app[Symbol.asyncDispose]();
    app = await LocalApp.start(new EmbeddedRegistry(dir, () => now));
    await call('PATCH', at, BYTES.subarray(400, 600), { 'Content-Range': '400-599' });
    assert.equal((await call('PUT', `${at}?digest=${DIGEST}`, BYTES.subarray(600))).status, 201);
  });

  it('keeps what had arrived when the client goes away', async () => {
    const at = await beginUpload();
    const patch = request(`${app.url}/v2/${at}`, { method: 'PATCH', headers: { 'Content-Length': '1000' } });
    patch.on('error', () => undefined); // it is cut on purpose
    patch.write(BYTES.subarray(0, 400));
    while ((await call('GET', at)).headers.get('range') !== '0-399');
    patch.destroy();
    let answer = await call('PATCH', at, BYTES.subarray(400), { 'Content-Range': '400-999' });
    while (answer.status === 409) {
      answer = await call('PATCH', at, BYTES.subarray(400), { 'Content-Range': '400-999' });
    }
    assert.equal(answer.status, 202);
    assert.equal((await call('PUT', `${at}?digest=${DIGEST}`)).status, 201);
  });

  const CHUNKS: readonly (readonly [string, Record<string, string>, string])[] = [
    ['a chunk beyond the end', { 'Content-Range': '500-899' }, '416 BLOB_UPLOAD_INVALID'],
    ['a chunk again', { 'Content-Range': '0-399' }, '416 BLOB_UPLOAD_INVALID'],
    ['a malformed Content-Range', { 'Content-Range': 'all' }, '400 SIZE_INVALID'],
    ['a Content-Range of another length', { 'Content-Range': '400-400' }, '400 SIZE_INVALID'],
  ];
  for (const [title, headers, expected] of CHUNKS) {
    it(`refuses ${title}, and the upload goes on`, async () => {
      const at = await beginUpload();
      await call('PATCH', at, BYTES.subarray(0, 400));
      const refused = await call('PATCH', at, BYTES.subarray(0, 400), headers);
      if (refused.status === 416) {
        assert.equal(refused.headers.get('range'), '0-399');
        assert.equal(refused.headers.get('location'), `/v2/${at}`);
      }
      assert.equal(await refusal(refused), expected);
      assert.equal((await call('PUT', `${at}?digest=${DIGEST}`, BYTES.subarray(400))).status, 201);
    });
  }

  it('refuses a second writer while one is writing', async () => {
    const at = await beginUpload();
    const patch = request(`${app.url}/v2/${at}`, { method: 'PATCH' });
    patch.write(BYTES.subarray(0, 400));
    while ((await call('GET', at)).headers.get('range') !== '0-399');
    assert.equal(await refusal(await call('PATCH', at, 'x')), '409 BLOB_UPLOAD_INVALID');
    patch.end(BYTES.subarray(400));
    await once(patch, 'response');
    assert.equal((await call('PUT', `${at}?digest=${DIGEST}`)).status, 201);
  });

  it('refuses what has another digest, keeps nothing of it and no repository', async () => {
    const at = await beginUpload();
    assert.equal(await refusal(await call('PUT', `${at}?digest=${ABSENT}`, BYTES)), '400 DIGEST_INVALID');
    assert.equal((await call('GET', at)).status, 404);
    assert.equal(
      await refusal(await call('POST', `a/b/blobs/uploads/?digest=${ABSENT}`, BYTES)),
      '400 DIGEST_INVALID',
    );
    assert.deepEqual(await readdir(join(dir, 'a/b/_uploads')), []);
    assert.equal((await call('GET', 'a/b/tags/list')).status, 404);
  });

  it('cancels', async () => {
    const at = await beginUpload();
    assert.equal((await call('DELETE', at)).status, 204);
    assert.equal(await refusal(await call('PATCH', at, 'x')), '404 BLOB_UPLOAD_UNKNOWN');
  });

  const BAD: readonly (readonly [string, string, string])[] = [
    ['PUT', 'a/b/blobs/uploads/SESSION', '400 DIGEST_INVALID'],
    ['PUT', 'a/b/blobs/uploads/SESSION?digest=sha256:xyz', '400 DIGEST_INVALID'],
    ['POST', 'a/b/blobs/uploads/?digest=md5:1', '400 DIGEST_INVALID'],
    ['POST', 'a/b/blobs/uploads/?mount=x', '400 DIGEST_INVALID'],
    ['POST', 'a/b/blobs/uploads/?digest-algorithm=md5', '400 DIGEST_INVALID'],
    ['POST', 'a/b/blobs/uploads/?digest-algorithm=toString', '400 DIGEST_INVALID'],
    ['PATCH', 'a/b/blobs/uploads/00000000-0000-0000-0000-000000000000', '404 BLOB_UPLOAD_UNKNOWN'],
    ['GET', 'a/b/blobs/uploads/%2e%2e%2f_layout', '404 UNSUPPORTED'],
    ['DELETE', 'a/b/blobs/uploads/..%2f_layout%2findex.json', '404 UNSUPPORTED'],
    ['GET', 'a/b/blobs/uploads/x', '404 BLOB_UPLOAD_UNKNOWN'],
    ['PATCH', 'other/blobs/uploads/SESSION', '404 BLOB_UPLOAD_UNKNOWN'],
    ['POST', 'a/b/blobs/uploads/SESSION', '405 UNSUPPORTED'],
    ['PATCH', `a/b/blobs/${ABSENT}`, '405 UNSUPPORTED'],
    ['PUT', 'a/b/tags/list', '405 UNSUPPORTED'],
    ['GET', 'a/b/blobs/nodigest', '400 DIGEST_INVALID'],
    ['GET', `a/b/blobs/${ABSENT}`, '404 BLOB_UNKNOWN'],
    ['GET', 'A/blobs/x', '400 NAME_INVALID'],
    ['GET', '_catalog', '404 UNSUPPORTED'],
    ['GET', 'a/b/tags/list', '404 NAME_UNKNOWN'],
    ['GET', 'a/b/manifests/v1', '404 NAME_UNKNOWN'],
    ['GET', 'a/b/referrers/x', '400 DIGEST_INVALID'],
    ['DELETE', 'a/b/manifests/v1', '404 NAME_UNKNOWN'],
    ['GET', 'a/b/tags/list?ns=a%0d%0ab', '400 UNSUPPORTED'],
  ];
  for (const [method, path, expected] of BAD) {
    it(`answers ${method} ${path} by ${expected}`, async () => {
      const session = path.includes('SESSION') ? (/[^/]+$/.exec(await beginUpload())?.[0] ?? '') : '';
      const answer = await call(method, path.replace('SESSION', session));
      assert.equal(await refusal(answer), expected);
    });
  }

  it('answers raw paths that climb out of the root by an error, and touches nothing there', async () => {
    const { hostname, port } = new URL(app.url);
    for (const path of [
      '/v2/../../etc/blobs/uploads/',
      '/v2/a/../../b/blobs/uploads/',
      '/v2/a/./blobs/uploads/',
    ]) {
      const socket = connect(Number(port), hostname);
      socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      let text = '';
      for await (const chunk of socket) text += chunk;
      assert.match(text, /^HTTP\/1.1 400 .*NAME_INVALID/s);
    }
    assert.deepEqual(await readdir(dir), []);
  });
});

describe('EmbeddedRegistry, manifests', () => {
  it('keeps bytes, type and digest', async () => {
    const document = ` ${manifestOf({ annotations: { a: 'b' } })}\n`;
    const pushed = await pushManifest('v1', document);
    assert.equal(pushed.status, 201);
    const digest = digestOf(document);
    assert.equal(pushed.headers.get('docker-content-digest'), digest);
    for (const reference of ['v1', digest]) {
      const pulled = await call('GET', `a/b/manifests/${reference}`);
      assert.equal(pulled.headers.get('content-type'), MEDIA_TYPE.ociManifest);
      assert.equal(pulled.headers.get('docker-content-digest'), digest);
      assert.equal(await pulled.text(), document);
      const again = await call('GET', `a/b/manifests/${reference}`, undefined, {
        'If-None-Match': `"${digest}"`,
      });
      assert.equal(again.status, 304);
    }
  });

  it('pushes by digest with tags, sha512 too', async () => {
    const digest = digestOf(manifestOf(), 'sha512');
    const pushed = await pushManifest(`${digest}?tag=x&tag=y`, manifestOf());
    assert.equal(pushed.status, 201);
    assert.equal(pushed.headers.get('oci-tag'), 'x, y');
    assert.equal((await call('HEAD', 'a/b/manifests/y')).headers.get('docker-content-digest'), digest);
  });

  it('moves a tag; the manifest that had it stays by its digest', async () => {
    await pushManifest('v1', manifestOf());
    await pushManifest('v1', manifestOf({ annotations: { n: '2' } }));
    assert.deepEqual(await tags(), ['v1']);
    assert.equal((await call('GET', `a/b/manifests/${digestOf(manifestOf())}`)).status, 200);
  });

  it('deletes a tag and leaves the manifest; deletes a manifest and its tags', async () => {
    await pushManifest('v1', manifestOf());
    await pushManifest('v2', manifestOf());
    assert.equal((await call('DELETE', 'a/b/manifests/v1')).status, 202);
    assert.deepEqual(await tags(), ['v2']);
    const digest = digestOf(manifestOf());
    assert.equal((await call('DELETE', `a/b/manifests/${digest}`)).status, 202);
    assert.deepEqual(await tags(), []);
    assert.equal(await refusal(await call('GET', `a/b/manifests/${digest}`)), '404 MANIFEST_UNKNOWN');
    assert.equal(await refusal(await call('GET', 'a/b/manifests/v2')), '404 MANIFEST_UNKNOWN');
    await assert.rejects(access(join(dir, 'a/b/_layout/blobs/sha256', digest.slice(7))));
    assert.equal((await pushManifest('v3', manifestOf())).status, 201);
  });

  const REFUSED: readonly (readonly [string, string, string, string, string])[] = [
    ['not JSON', 'v1', '{', MEDIA_TYPE.ociManifest, '400 MANIFEST_INVALID'],
    ['no object', 'v1', '[]', MEDIA_TYPE.ociManifest, '400 MANIFEST_INVALID'],
    ['a text', 'v1', '"x"', MEDIA_TYPE.ociManifest, '400 MANIFEST_INVALID'],
    [
      'without a config',
      'v1',
      '{"schemaVersion":2,"layers":[]}',
      MEDIA_TYPE.ociManifest,
      '400 MANIFEST_INVALID',
    ],
    [
      'of schema 1',
      'v1',
      '{"schemaVersion":1,"fsLayers":[]}',
      'application/vnd.docker.distribution.manifest.v1+json',
      '400 MANIFEST_INVALID',
    ],
    [
      'both image and index',
      'v1',
      manifestOf({ manifests: [] }),
      MEDIA_TYPE.ociManifest,
      '400 MANIFEST_INVALID',
    ],
    ['of another type than declared', 'v1', manifestOf(), MEDIA_TYPE.dockerManifest, '400 MANIFEST_INVALID'],
    [
      'an image declared as an index',
      'v1',
      manifestOf({ mediaType: undefined }),
      MEDIA_TYPE.ociIndex,
      '400 MANIFEST_INVALID',
    ],
    [
      'an index declared as an image',
      'v1',
      '{"schemaVersion":2,"manifests":[]}',
      MEDIA_TYPE.ociManifest,
      '400 MANIFEST_INVALID',
    ],
    ['under a tag that is none', '-v1', manifestOf(), MEDIA_TYPE.ociManifest, '400 MANIFEST_INVALID'],
    ['under a tag too long', 'a'.repeat(129), manifestOf(), MEDIA_TYPE.ociManifest, '400 MANIFEST_INVALID'],
    ['under a digest that it has not', ABSENT, manifestOf(), MEDIA_TYPE.ociManifest, '400 DIGEST_INVALID'],
    [
      'with a tag parameter that is none',
      `${digestOf(manifestOf())}?tag=.x`,
      manifestOf(),
      MEDIA_TYPE.ociManifest,
      '400 MANIFEST_INVALID',
    ],
    [
      'with too many tags',
      `${digestOf(manifestOf())}?${Array.from({ length: 65 }, (_, i) => `tag=t${i}`).join('&')}`,
      manifestOf(),
      MEDIA_TYPE.ociManifest,
      '414 UNSUPPORTED',
    ],
    [
      'naming a blob that is not there',
      'v1',
      manifestOf({ layers: [{ mediaType: MEDIA_TYPE.ociLayer, digest: ABSENT, size: 1 }] }),
      MEDIA_TYPE.ociManifest,
      '404 MANIFEST_BLOB_UNKNOWN',
    ],
    [
      'larger than 4 MiB',
      'v1',
      manifestOf({ annotations: { a: 'x'.repeat(4 << 20) } }),
      MEDIA_TYPE.ociManifest,
      '413 SIZE_INVALID',
    ],
  ];
  for (const [title, reference, document, type, expected] of REFUSED) {
    it(`refuses a manifest ${title}`, async () => {
      await pushBlob(CONFIG);
      const answer = await call('PUT', `a/b/manifests/${reference}`, document, { 'Content-Type': type });
      assert.equal(await refusal(answer), expected);
      assert.deepEqual(await tags(), []);
    });
  }

  it('takes a layer that lives elsewhere, and an index whose children are missing', async () => {
    const foreign = {
      mediaType: MEDIA_TYPE.ociLayer,
      digest: ABSENT,
      size: 1,
      urls: ['https://example.test/l'],
    };
    assert.equal((await pushManifest('v1', manifestOf({ layers: [foreign] }))).status, 201);
    const index = JSON.stringify({
      schemaVersion: 2,
      manifests: [{ mediaType: MEDIA_TYPE.ociManifest, digest: ABSENT, size: 1 }],
    });
    const pushed = await call('PUT', 'a/b/manifests/v2', index, { 'Content-Type': MEDIA_TYPE.ociIndex });
    assert.equal(pushed.status, 201);
  });

  it('lists tags in order and by pages that link to the next', async () => {
    for (const tag of ['b', 'A', 'a', 'C', 'c1']) await pushManifest(tag, manifestOf());
    assert.deepEqual(await tags(), ['A', 'a', 'b', 'C', 'c1']);
    let path: string | undefined = 'a/b/tags/list?n=2';
    const pages: string[][] = [];
    while (path !== undefined) {
      const answer = await call('GET', path);
      pages.push(((await answer.json()) as { tags: string[] }).tags);
      path = /^<\/v2\/(.*)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
    }
    assert.deepEqual(pages, [['A', 'a'], ['b', 'C'], ['c1']]);
    assert.deepEqual(await tags('a/b', '?n=0'), []);
    assert.deepEqual(await tags('a/b', '?last=b&n=99'), ['C', 'c1']);
    assert.equal((await call('GET', 'a/b/tags/list?n=-1')).status, 400);
  });

  it('lists referrers, by type too and by pages, also of what is not there', async () => {
    const subject = { mediaType: MEDIA_TYPE.ociManifest, digest: ABSENT, size: 1 };
    const pushed = await pushManifest(
      's1',
      manifestOf({ subject, artifactType: 'x/sbom', annotations: { k: 'v' } }),
    );
    assert.equal(pushed.headers.get('oci-subject'), ABSENT);
    await pushManifest('s2', manifestOf({ subject }));
    await pushManifest('s3', manifestOf());
    const list = async (query: string) => {
      const answer = await call('GET', `a/b/referrers/${ABSENT}${query}`);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('content-type'), MEDIA_TYPE.ociIndex);
      return { answer, manifests: parseIndex(Buffer.from(await answer.arrayBuffer())).manifests };
    };
    const all = await list('');
    assert.deepEqual(all.manifests.map((one) => one.artifactType).sort(), [MEDIA_TYPE.ociConfig, 'x/sbom']);
    assert.equal(all.answer.headers.get('oci-filters-applied'), null);
    const some = await list('?artifactType=x/sbom');
    assert.equal(some.answer.headers.get('oci-filters-applied'), 'artifactType');
    assert.deepEqual(
      some.manifests.map((one) => one.annotations),
      [{ k: 'v' }],
    );
    const page = await list('?n=1');
    const next = /^<[^?]*(\?.*)>; rel="next"$/.exec(page.answer.headers.get('link') ?? '')?.[1] ?? '';
    const rest = await list(next);
    assert.deepEqual([...page.manifests, ...rest.manifests], all.manifests);
    assert.equal(rest.answer.headers.get('link'), null);
    await call('DELETE', `a/b/manifests/${all.manifests[0]?.digest}`);
    assert.equal((await list('')).manifests.length, 1);
    await app[Symbol.asyncDispose]();
    app = await LocalApp.start(new EmbeddedRegistry(dir, () => now));
    assert.equal((await list('')).manifests.length, 1, 'also after a restart');
    assert.deepEqual(
      parseIndex(Buffer.from(await (await call('GET', `none/referrers/${ABSENT}`)).arrayBuffer())).manifests,
      [],
    );
  });

  for (const [crossMount, named, any] of [
    ['any', 201, 201],
    ['named', 201, 202],
    ['off', 202, 202],
  ] as const) {
    it(`mounts as it is told to: ${crossMount}`, async () => {
      const digest = await pushBlob(randomBytes(10));
      await app[Symbol.asyncDispose]();
      app = await LocalApp.start(
        new EmbeddedRegistry(dir, () => now, DEFAULT_LIMITS, { crossMount, sparse: false }),
      );
      assert.equal((await call('POST', `c/blobs/uploads/?mount=${digest}&from=a/b`)).status, named);
      assert.equal((await call('POST', `d/blobs/uploads/?mount=${digest}`)).status, any);
    });
  }

  it('takes a manifest without its blobs only where it is told to', async () => {
    const headers = { 'Content-Type': MEDIA_TYPE.ociManifest };
    const refused = await call('PUT', 'a/b/manifests/v1', manifestOf(), headers);
    assert.equal(await refusal(refused), '404 MANIFEST_BLOB_UNKNOWN');
    await app[Symbol.asyncDispose]();
    app = await LocalApp.start(
      new EmbeddedRegistry(dir, () => now, DEFAULT_LIMITS, { crossMount: 'any', sparse: true }),
    );
    assert.equal((await call('PUT', 'a/b/manifests/v1', manifestOf(), headers)).status, 201);
    assert.equal(await (await call('GET', 'a/b/manifests/v1')).text(), manifestOf());
  });

  it('keeps every one of many manifests pushed at once, under different tags and under the same', async () => {
    await pushBlob(CONFIG);
    const pushes = Array.from({ length: 40 }, (_, at) =>
      call(
        'PUT',
        `a/b/manifests/${at % 2 === 0 ? `t${at}` : 'same'}`,
        manifestOf({ annotations: { at: `${at}` } }),
        {
          'Content-Type': MEDIA_TYPE.ociManifest,
        },
      ),
    );
    for (const answer of await Promise.all(pushes)) assert.equal(answer.status, 201);
    assert.equal((await tags()).length, 21);
    const index = parseIndex(await readFile(join(dir, 'a/b/_layout/index.json')));
    assert.equal(new Set(index.manifests.map((one) => one.digest)).size, 40);
  });

  it('keeps one good blob of several uploads of it at once', async () => {
    const bytes = randomBytes(300_000);
    await Promise.all(Array.from({ length: 8 }, () => pushBlob(bytes)));
    const pulled = Buffer.from(await (await call('GET', `a/b/blobs/${digestOf(bytes)}`)).arrayBuffer());
    assert.equal(createHash('sha256').update(pulled).digest('hex'), digestOf(bytes).slice(7));
    assert.deepEqual(await readdir(join(dir, 'a/b/_uploads')), []);
  });
});
