import assert from 'node:assert/strict';
import { request } from 'node:http';
import type { Directory } from '../../../extensions/starlight/directory.ts';
import { RegistryReadError } from '../../../extensions/starlight/registry-reader.ts';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { mergeLayers } from '../../../schemas/toc/merge.ts';
import { directory as dir, file, hardlink, whiteout } from '../../support/tar.ts';
import { seeded } from './fake-blobs.ts';
import { FakeRegistry } from './fake-registry.ts';
import { type MadeImage, makeImage, makeIndex } from './made-image.ts';
import { sharedDirectory } from './shared-directory.ts';
import { StarlightApp } from './starlight-app.ts';
import { unpackBundle } from './unpack-bundle.ts';

const SIGNAL = new AbortController().signal;
let names = 0;

async function errorOf(response: Response): Promise<string> {
  const body = (await response.json()) as { errors: { code: string }[] };
  return `${response.status} ${body.errors[0]?.code}`;
}

describe('/starlight/delta', function () {
  this.timeout(60_000);
  let database: Directory;
  let registry: FakeRegistry;
  let app: StarlightApp;
  let name: string;
  let one: MadeImage;
  let two: MadeImage;
  const content = (what: string, sizeBytes = 400) => Buffer.alloc(sizeBytes, `${name} ${what} `);
  const delta = (query: string, headers: Record<string, string> = {}) =>
    fetch(`${app.url}/starlight/delta?${query}`, { headers });
  const bundleOf = async (query: string, headers: Record<string, string> = {}) => {
    const response = await delta(query, headers);
    assert.equal(response.status, 200, await response.clone().text());
    return { response, bytes: new Uint8Array(await response.arrayBuffer()) };
  };
  const held = (image: MadeImage, repository = name) => `from=${repository}@${image.manifest.digest}`;

  before(async () => {
    database = await sharedDirectory();
  });
  beforeEach(async () => {
    registry = new FakeRegistry();
    app = await StarlightApp.start({ directory: database, reader: registry });
    name = `delta/n${names++}`;
    const base = [
      dir('bin'),
      file('bin/app', content('app')),
      file('lib/shared', content('shared', 200_000)),
    ];
    one = await makeImage([base, [file('etc/version', content('one')), file('etc/old', content('old'))]]);
    two = await makeImage([
      base,
      [file('etc/version', content('two')), file('etc/new', content('new', 150_000)), file('etc/empty', '')],
      [whiteout('etc/old'), hardlink('bin/alias', 'bin/app'), dir(name)],
    ]);
    registry.push(name, 'v1', one);
    registry.push(name, 'v2', two);
  });
  afterEach(() => app[Symbol.asyncDispose]());

  it('brings an image: every content of its tree, each once, each verified', async () => {
    const { response, bytes } = await bundleOf(`to=${name}:v1&platform=linux/amd64`);
    assert.equal(response.headers.get('content-type'), MEDIA_TYPE.starlightBundle);
    assert.equal(response.headers.get('content-length'), String(bytes.length));
    const { bundle, contents } = await unpackBundle(bytes);
    const expected = ['app', 'one', 'old'].map((what) => digestOf(content(what)));
    expected.push(digestOf(content('shared', 200_000)));
    assert.deepEqual([...contents.keys()].sort(), expected.sort());
    const [image] = bundle.header.images;
    assert.equal(image?.manifestDigest, one.manifest.digest);
    assert.equal(image?.tocDigest, one.tocDigest);
    assert.equal(image?.tocBound, true);
    assert.equal(image?.reference, `${name}:v1`);
    for (const { digest, bytes: blob } of bundle.header.blobs) assert.equal(digestOf(blob), digest);
    assert.equal(bundle.header.blobs.length, 2);
  });

  it('brings an update: only what the old version lacks, the table by its difference', async () => {
    const first = await unpackBundle((await bundleOf(`to=${name}:v1`)).bytes);
    const { response, bytes } = await bundleOf(`to=${name}:v2&${held(one)}`);
    assert.equal(response.headers.get('starlight-unknown-from'), null);
    const { bundle, contents } = await unpackBundle(bytes, first.tocs);
    assert.deepEqual(
      [...contents.keys()].sort(),
      [digestOf(content('two')), digestOf(content('new', 150_000))].sort(),
    );
    assert.deepEqual(
      bundle.header.from.map(({ manifestDigest }) => manifestDigest),
      [one.manifest.digest],
    );
  });

  it('knows an image in every repository that it was pulled from', async () => {
    const first = await unpackBundle((await bundleOf(`to=${name}:v1`)).bytes);
    const copy = `delta/copy${names++}`;
    registry.push(copy, 'v1', one);
    await bundleOf(`to=${copy}:v1`);
    const { response, bytes } = await bundleOf(`to=${name}:v2&${held(one, copy)}`);
    assert.equal(response.headers.get('starlight-unknown-from'), null);
    assert.equal((await unpackBundle(bytes, first.tocs)).contents.size, 2);
  });

  it('brings nothing but metadata when all is there', async () => {
    const first = await unpackBundle((await bundleOf(`to=${name}:v1`)).bytes);
    const { bytes } = await bundleOf(`to=${name}:v1&${held(one)}`);
    assert.equal((await unpackBundle(bytes, first.tocs)).contents.size, 0);
  });

  it('brings several images in one bundle, shared contents once', async () => {
    const both = await bundleOf(`to=${name}:v1,${name}:v2`);
    const { bundle, contents } = await unpackBundle(both.bytes);
    assert.equal(bundle.header.images.length, 2);
    assert.equal(contents.size, 6);
    const repeated = await bundleOf(`to=${name}:v1&to=${name}:v2`);
    assert.equal(repeated.response.headers.get('etag'), both.response.headers.get('etag'));
    for (let n = 0; n < 100 && (await database.groups(one.manifest.digest, SIGNAL)).length === 0; n++);
    assert.equal((await database.groups(one.manifest.digest, SIGNAL))[0]?.manifests.length, 2);
  });

  it('sends first what was opened first', async () => {
    await bundleOf(`to=${name}:v2`);
    const opens = [
      'etc/new',
      { b64: Buffer.from('bin/alias').toString('base64') },
      'etc',
      'nowhere',
      'etc/new',
    ];
    const body = JSON.stringify({ image: two.manifest.digest, name, traces: [{ opens }] });
    const response = await fetch(`${app.url}/starlight/report`, { method: 'POST', body });
    // Of an image that nobody has notified the proxy of by tag: known by the delta all the same.
    assert.deepEqual(await response.json(), { accepted: 2 });
    const { contents } = await unpackBundle((await bundleOf(`to=${name}:v2`)).bytes);
    const order = [...contents.keys()];
    assert.deepEqual(order.slice(0, 2), [digestOf(content('new', 150_000)), digestOf(content('app'))]);
  });

  it('sends an image that nobody has traced in the order of a traced one of its repository', async () => {
    const shared = digestOf(content('shared', 200_000));
    const first = async () =>
      [...(await unpackBundle((await bundleOf(`to=${name}:v2`)).bytes)).contents.keys()][0];
    await bundleOf(`to=${name}:v1`);
    assert.notEqual(await first(), shared);
    // Both versions are known already when the older one is traced.
    const body = JSON.stringify({ image: one.manifest.digest, name, traces: [{ opens: ['lib/shared'] }] });
    await fetch(`${app.url}/starlight/report`, { method: 'POST', body });
    assert.equal(await first(), shared);
  });

  it('is the same for the same question, also after a restart, and answers POST alike', async () => {
    const query = `to=${name}:v2&${held(one)}&platform=linux/amd64`;
    await bundleOf(`to=${name}:v1`);
    const first = await bundleOf(query);
    await using other = await StarlightApp.start({ directory: database, reader: registry });
    const second = await fetch(`${other.url}/starlight/delta?${query}`);
    assert.equal(second.headers.get('etag'), first.response.headers.get('etag'));
    assert.deepEqual(new Uint8Array(await second.arrayBuffer()), first.bytes);
    const body = JSON.stringify({
      to: [`${name}:v2`],
      from: [`${name}@${one.manifest.digest}`],
      platform: 'linux/amd64',
    });
    const post = await fetch(`${app.url}/starlight/delta`, { method: 'POST', body });
    assert.deepEqual(new Uint8Array(await post.arrayBuffer()), first.bytes);
  });

  it('plans once for many who ask at once', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => bundleOf(`to=${name}:v2`)));
    assert.equal(new Set(answers.map(({ response }) => response.headers.get('etag'))).size, 1);
    const scans = registry.blobReads().filter((line) => line.endsWith(' '));
    assert.equal(scans.length, 4, 'config and three layers, once');
  });

  it('goes on from any byte, reading nothing of what came before', async () => {
    const { response, bytes } = await bundleOf(`to=${name}:v2`);
    const etag = response.headers.get('etag') ?? '';
    const random = seeded('resume');
    const offsets = [1, 31, 32, 33];
    for (let n = 0; n < 10; n++) offsets.push(1 + Math.floor(random() * (bytes.length - 1)));
    offsets.push(bytes.length - 1);
    for (const start of offsets) {
      registry.asked.length = 0;
      const rest = await delta(`to=${name}:v2`, { range: `bytes=${start}-`, 'if-range': etag });
      assert.equal(rest.status, 206);
      assert.equal(rest.headers.get('content-range'), `bytes ${start}-${bytes.length - 1}/${bytes.length}`);
      assert.ok(Buffer.from(await rest.arrayBuffer()).equals(bytes.subarray(start)), `from ${start}`);
    }
    assert.equal(registry.blobReads().length, 1, 'the last byte is read by one request');
    assert.match(registry.blobReads()[0] ?? '', /\+1$/);
  });

  it('goes on with the bundle that was begun when traces have changed the order', async () => {
    const { response, bytes } = await bundleOf(`to=${name}:v2`);
    const etag = response.headers.get('etag') ?? '';
    const digest = digestOf(content('shared', 200_000));
    const tree = mergeLayers(two.layers);
    const row = Array.from({ length: tree.contentCount }, (_, at) => tree.digestOfContent(at)).indexOf(
      digest,
    );
    const rank = { path: Buffer.from('lib/shared'), content: row, rankSum: 0, hits: 1 };
    await database.addRanks({ registry: 'origin', name }, two.manifest.digest, [rank], SIGNAL);
    const rest = await delta(`to=${name}:v2`, { range: 'bytes=100-', 'if-range': etag });
    assert.equal(rest.status, 206);
    assert.ok(Buffer.from(await rest.arrayBuffer()).equals(bytes.subarray(100)));
    const anew = await bundleOf(`to=${name}:v2`);
    assert.notEqual(anew.response.headers.get('etag'), etag);
  });

  it('sends all of it for an ETag of another bundle', async () => {
    const other = await bundleOf(`to=${name}:v1`);
    const { bytes } = await bundleOf(`to=${name}:v2`);
    for (const etag of ['"unknown"', other.response.headers.get('etag') ?? '']) {
      const answer = await delta(`to=${name}:v2`, { range: 'bytes=10-', 'if-range': etag });
      assert.equal(answer.status, 200);
      assert.equal((await answer.arrayBuffer()).byteLength, bytes.length);
    }
    const beyond = await delta(`to=${name}:v2`, { range: `bytes=${bytes.length}-` });
    assert.equal(beyond.status, 416);
    assert.equal(beyond.headers.get('content-range'), `bytes */${bytes.length}`);
  });

  it('answers 304 to who has it', async () => {
    const { response } = await bundleOf(`to=${name}:v1`);
    const again = await delta(`to=${name}:v1`, { 'if-none-match': response.headers.get('etag') ?? '' });
    assert.equal(again.status, 304);
  });

  it('sends the header before any payload is fetched', async () => {
    await bundleOf(`to=${name}:v1`);
    registry.asked.length = 0;
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    registry.onBlob = () => held;
    const response = await delta(`to=${name}:v1`);
    const reader = response.body?.getReader();
    const first = await reader?.read();
    assert.ok((first?.value?.length ?? 0) > 32);
    release();
    while (!((await reader?.read())?.done ?? true));
  });

  it('says which from it does not know, and sends all', async () => {
    const ghost = `${name}@${digestOf('ghost')}`;
    const { response, bytes } = await bundleOf(`to=${name}:v1&from=${ghost}`);
    assert.equal(response.headers.get('starlight-unknown-from'), ghost);
    const { bundle, contents } = await unpackBundle(bytes);
    assert.equal(contents.size, 4);
    assert.deepEqual(bundle.header.unknownFrom, [ghost]);
  });

  it('says it of as many as a header holds, and of all of them in the bundle', async () => {
    const from = Array.from({ length: 256 }, (_, row) => `${name}@${digestOf(`ghost ${row}`)}`);
    const body = JSON.stringify({ to: [`${name}:v1`], from });
    const answer = await fetch(`${app.url}/starlight/delta`, { method: 'POST', body });
    assert.equal(answer.status, 200);
    const told = (answer.headers.get('starlight-unknown-from') ?? '').split(', ');
    assert.deepEqual(told, [...from.slice(0, told.length - 1), `and ${from.length - told.length + 1} more`]);
    assert.ok(told.length > 20, `${told.length}`);
    const { bundle } = await unpackBundle(new Uint8Array(await answer.arrayBuffer()));
    assert.deepEqual(bundle.header.unknownFrom, from);
  });

  it('takes a from that the caller may not pull for unknown', async () => {
    const secret = `delta/secret${names++}`;
    registry.push(secret, 'v1', one);
    registry.repository(secret).owner = 'Bearer owner';
    const owner = { authorization: 'Bearer owner' };
    const first = await unpackBundle((await bundleOf(`to=${secret}:v1`, owner)).bytes);
    const query = `to=${name}:v2&${held(one, secret)}`;
    for (const headers of [{}, { authorization: 'Bearer other' }]) {
      const { response, bytes } = await bundleOf(query, headers as Record<string, string>);
      assert.equal(response.headers.get('starlight-unknown-from'), `${secret}@${one.manifest.digest}`);
      assert.equal((await unpackBundle(bytes)).contents.size, 4);
    }
    const { bytes } = await bundleOf(query, owner);
    assert.equal((await unpackBundle(bytes, first.tocs)).contents.size, 2);
  });

  it('gives nothing to who may not pull, whatever is known or cached', async () => {
    const { response } = await bundleOf(`to=${name}:v1`);
    const etag = response.headers.get('etag') ?? '';
    registry.repository(name).owner = 'Bearer owner';
    const resume = { range: 'bytes=10-', 'if-range': etag };
    const anonymous = await delta(`to=${name}:v1`, resume);
    assert.equal(
      anonymous.headers.get('www-authenticate'),
      'Bearer realm="https://auth.example/token", Basic realm="x"',
    );
    assert.equal(await errorOf(anonymous), '401 UNAUTHORIZED');
    const stranger = await delta(`to=${name}:v1`, { ...resume, authorization: 'Bearer other' });
    assert.equal(await errorOf(stranger), '403 DENIED');
    const unknown = await delta(`to=${name}:v9`, { authorization: 'Bearer owner' });
    assert.equal(await errorOf(unknown), '404 MANIFEST_UNKNOWN');
    await bundleOf(`to=${name}:v1`, { authorization: 'Bearer owner' });
  });

  it('gives no bundle of a private image for the ETag alone', async () => {
    const secret = `delta/secret${names++}`;
    registry.push(secret, 'v1', two);
    registry.repository(secret).owner = 'Bearer owner';
    const { response } = await bundleOf(`to=${secret}:v1`, { authorization: 'Bearer owner' });
    const answer = await delta(`to=${name}:v1`, {
      range: 'bytes=10-',
      'if-range': response.headers.get('etag') ?? '',
    });
    assert.equal(answer.status, 200);
    const { bundle } = await unpackBundle(new Uint8Array(await answer.arrayBuffer()));
    assert.equal(bundle.header.images[0]?.manifestDigest, one.manifest.digest);
  });

  describe('of a manifest pushed without the blobs that it names, by one who knows its bytes', () => {
    const owner = { authorization: 'Bearer owner' };
    let secret: string;
    let mine: string;
    beforeEach(async () => {
      secret = `delta/secret${names++}`;
      mine = `delta/mine${names++}`;
      registry.push(secret, 'v1', two);
      registry.repository(secret).owner = owner.authorization;
      await bundleOf(`to=${secret}:v1`, owner);
      registry.pushDocument(mine, 'v1', two.manifest);
    });

    it('gives neither its config nor its table, though they are known', async () => {
      assert.equal(await errorOf(await delta(`to=${mine}:v1`)), '422 IMAGE_REFUSED');
    });

    it('does not count it among what the repository holds, however often that is asked for', async () => {
      const body = JSON.stringify({ reference: `${mine}:v1` });
      const told = await fetch(`${app.url}/starlight/notify`, { method: 'POST', body });
      assert.equal(await errorOf(told), '422 IMAGE_REFUSED');
      const { response, bytes } = await bundleOf(`to=${name}:v1&${held(two, mine)}`);
      assert.equal(response.headers.get('starlight-unknown-from'), `${mine}@${two.manifest.digest}`);
      assert.equal((await unpackBundle(bytes)).contents.size, 4);
    });

    it('gives it once the blobs are there too', async () => {
      registry.push(mine, 'v1', two);
      await bundleOf(`to=${mine}:v1`);
    });
  });

  it('chooses the platform', async () => {
    const arm = await makeImage([[file('bin/arm', content('arm'))]], { architecture: 'arm64' });
    registry.push(name, undefined, arm);
    registry.pushDocument(
      name,
      'both',
      makeIndex([
        ['amd64', one],
        ['arm64', arm],
      ]),
    );
    const { bytes } = await bundleOf(`to=${name}:both&platform=linux/arm64`);
    const { bundle } = await unpackBundle(bytes);
    assert.equal(bundle.header.images[0]?.manifestDigest, arm.manifest.digest);
    assert.equal(bundle.header.blobs.length, 3, 'the index too');
    assert.equal(await errorOf(await delta(`to=${name}:both&platform=linux/s390x`)), '404 PLATFORM_UNKNOWN');
    assert.equal(await errorOf(await delta(`to=${name}:v1&platform=linux/arm64`)), '404 PLATFORM_UNKNOWN');
  });

  it('cuts the connection when a layer changes under it', async () => {
    await bundleOf(`to=${name}:v2`);
    const { blobs } = registry.repository(name);
    const damages: ((bytes: Buffer, digest: string) => void)[] = [
      (_, digest) => blobs.delete(digest),
      (bytes, digest) => blobs.set(digest, bytes.subarray(0, 30)),
      (bytes, digest) => blobs.set(digest, Buffer.alloc(bytes.length)),
    ];
    for (const damage of damages) {
      for (const { digest, bytes } of two.blobs.slice(1)) damage(bytes, digest);
      const response = await delta(`to=${name}:v2`);
      assert.equal(response.status, 200);
      await assert.rejects(response.arrayBuffer());
      registry.push(name, 'v2', two);
    }
    await bundleOf(`to=${name}:v2`);
  });

  it('stops reading the registry when the caller leaves', async () => {
    const layers = Array.from({ length: 40 }, (_, n) =>
      file(`data/${n}`, Buffer.from(seededBytes(`${name}${n}`, 200_000))),
    );
    const large = await makeImage([layers]);
    registry.push(name, 'large', large);
    await delta(`to=${name}:large`, { range: 'bytes=999999999-' }); // ingests it
    registry.asked.length = 0;
    await new Promise<void>((resolve, reject) => {
      const asked = request(`${app.url}/starlight/delta?to=${name}:large`, (response) => {
        response.once('data', () => {
          asked.destroy();
          resolve();
        });
      });
      asked.once('error', reject);
      asked.end();
    });
    for (let n = 0; n < 500; n++) await new Promise((resolve) => setImmediate(resolve));
    const after = registry.blobReads().length;
    for (let n = 0; n < 500; n++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(registry.blobReads().length, after);
    assert.ok(after < 40, `${after} requests`);
  });

  it('answers what is not converted, refused or away in its own words', async () => {
    const plain = await makeImage([[file('a', content('a'))]], { tocDigest: null });
    const wrong = await makeImage([[file('b', content('b'))]], { tocDigest: digestOf('wrong') });
    registry.push(name, 'plain', plain);
    registry.push(name, 'wrong', wrong);
    assert.equal(await errorOf(await delta(`to=${name}:plain`)), '404 NOT_CONVERTED');
    assert.equal(await errorOf(await delta(`to=${name}:wrong`)), '422 IMAGE_REFUSED');
    registry.failure = new RegistryReadError({ kind: 'unavailable', retryAfter: '7' }, 'away');
    const away = await delta(`to=${name}:v1`);
    assert.equal(away.headers.get('retry-after'), '7');
    assert.equal(await errorOf(away), '503 UNAVAILABLE');
    registry.failure = new RegistryReadError({ kind: 'protocol' }, 'nonsense');
    assert.equal(await errorOf(await delta(`to=${name}:v1`)), '502 UNAVAILABLE');
  });

  const many = (count: number) => Array.from({ length: count }, (_, n) => `a/b:v${n}`).join();
  const BAD: readonly (readonly [what: string, query: string])[] = [
    ['nothing wanted', ''],
    ['an empty name', 'to='],
    ['a malformed name', 'to=UPPER:v1'],
    ['a malformed tag', 'to=a/b:-'],
    ['a malformed digest', 'to=a/b@sha256:12'],
    ['a name with a host', 'to=registry.example/a/b:v1'],
    ['a path that climbs', 'to=../b:v1'],
    ['a from without digest', 'to=a/b:v1&from=a/b:v0'],
    ['a malformed from', 'to=a/b:v1&from=a/b@sha256:xyz'],
    ['no platform', 'to=a/b:v1&platform=linux'],
    ['a platform that is none', 'to=a/b:v1&platform=../x'],
    ['too many wanted', `to=${many(65)}`],
  ];
  for (const [what, query] of BAD) {
    it(`refuses ${what}, without asking the registry`, async () => {
      assert.equal(await errorOf(await delta(query)), '400 INVALID_REQUEST');
      assert.deepEqual(registry.asked, []);
    });
  }

  const BODIES: readonly (readonly [what: string, body: string])[] = [
    ['no JSON', '{'],
    ['another shape', '[]'],
    ['an empty to', '{"to":[]}'],
    ['numbers', '{"to":[1]}'],
    ['what is no UTF-8', '\ud800{"to":["a:b"]}'],
  ];
  it('refuses a POST of a body too large, announced or not', async () => {
    const body = JSON.stringify({ to: ['a:b'], from: [], pad: 'x'.repeat(1 << 20) });
    for (const sent of [body, new Blob([body]).stream()]) {
      const request = { method: 'POST', body: sent, duplex: 'half' } as const;
      assert.equal(await errorOf(await fetch(`${app.url}/starlight/delta`, request)), '413 SIZE_INVALID');
    }
  });
  for (const [what, body] of BODIES) {
    it(`refuses a POST of ${what}`, async () => {
      const response = await fetch(`${app.url}/starlight/delta`, { method: 'POST', body });
      assert.equal(await errorOf(response), '400 INVALID_REQUEST');
    });
  }

  it('refuses other methods, and leaves other paths alone', async () => {
    const response = await fetch(`${app.url}/starlight/delta`, { method: 'PUT' });
    assert.equal(response.headers.get('allow'), 'GET, POST');
    assert.equal(await errorOf(response), '405 UNSUPPORTED');
    const other = await fetch(`${app.url}/starlight/other`);
    assert.equal(other.status, 404);
  });
});

/** Bytes that do not compress. */
function seededBytes(seed: string, sizeBytes: number): Buffer {
  const parts: Buffer[] = [];
  for (let n = 0; n * 32 < sizeBytes; n++)
    parts.push(Buffer.from(digestOf(`${seed} ${n}`).slice(7) as Digest, 'hex'));
  return Buffer.concat(parts).subarray(0, sizeBytes);
}
