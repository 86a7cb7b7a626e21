import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import type { BundleHeader } from '../../../schemas/bundle/header.ts';
import { packToc } from '../../../schemas/bundle/toc-packing.ts';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { encodeImageToc } from '../../../schemas/toc/image-toc.ts';
import { mergeLayers } from '../../../schemas/toc/merge.ts';
import { DownloadError } from '../../../worker/download/download-error.ts';
import { type MadeImage, makeImage } from '../../extensions/starlight/made-image.ts';
import { BundleServer, makeBundle } from '../../support/bundle-server.ts';
import { directory, file, whiteout } from '../../support/tar.ts';
import { DownloadHome, type HomeOptions } from './download-home.ts';

const kind = (wanted: string) => (error: unknown) => {
  assert.ok(error instanceof DownloadError, String(error));
  assert.equal(error.kind, wanted, error.message);
  return true;
};
const LARGE_BYTES = 3 * 1024 * 1024; // beyond what is handled in memory

describe('Downloads', function () {
  this.timeout(30_000);
  let image: MadeImage;
  let other: MadeImage;
  let contents: Digest[];
  let large: Digest;
  let server: BundleServer;
  let home: DownloadHome;
  const opened: DownloadHome[] = [];

  before(async () => {
    const largeBytes = randomBytes(LARGE_BYTES);
    large = digestOf(largeBytes);
    const base = [
      directory('a'),
      ...Array.from({ length: 40 }, (_, row) => file(`a/small-${row}`, `content ${row}`)),
      file('a/hidden', 'seen by the lower layer only'),
      ...Array.from({ length: 8 }, (_, row) => file(`a/medium-${row}`, randomBytes(150_000))),
    ];
    image = await makeImage([base, [whiteout('a/hidden'), file('a/z-large', largeBytes), file('a/empty')]]);
    other = await makeImage([[file('other', 'another image')]]);
    const tree = mergeLayers(image.layers);
    contents = Array.from({ length: tree.contentCount }, (_, content) => tree.digestOfContent(content));
  });
  beforeEach(async () => {
    server = await BundleServer.start();
    server.offer(makeBundle(image), image);
  });
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const open = async (options?: HomeOptions) => {
    home = await DownloadHome.open(server.url, options);
    opened.push(home);
    return home;
  };

  /** A download that gets the first payloads and is then cut, and cut again whenever it asks. */
  async function cutFor(payloads: number): Promise<void> {
    server.holdAt = makeBundle(image).positions[payloads] ?? 0;
    const active = await home.start();
    const signal = AbortSignal.timeout(20_000);
    await Promise.any(contents.map((digest) => home.store.wait(digest, signal)));
    server.cutHeld(true);
    await assert.rejects(active.done, kind('unreachable'));
  }

  it('brings every content of the merged tree, and no other', async () => {
    await open();
    const active = await home.complete();
    assert.deepEqual(home.present(contents), contents);
    assert.equal(home.store.has(digestOf('seen by the lower layer only')), false);
    assert.equal(home.catalogue.find(image.manifest.digest)?.state, 'complete');
    const counts = active.counts();
    assert.equal(counts.contentsArrived, contents.length);
    assert.equal(counts.bytesArrived, counts.bytesTotal);
    assert.equal(counts.wireBytes, server.bundle.length);
    assert.equal(server.blobRanges.length, 0);
  });

  it('asked for twice at once it is one download', async () => {
    await open();
    const digest = image.manifest.digest;
    const [one, two, three] = await Promise.all([home.start(), home.start(), home.start({ digest })]);
    await Promise.all([one.done, two.done, three.done]);
    assert.equal(one, two);
    assert.equal(three.done, one.done);
  });

  const resumes: readonly (readonly [string, (positions: readonly number[]) => number[], number])[] = [
    ['in the frame', () => [10], 0],
    ['in the header', (at) => [(at[0] ?? 0) - 7], 0],
    ['behind the header', (at) => [at[0] ?? 0], 0],
    ['in a small payload', (at) => [(at[1] ?? 0) + 3], 0],
    ['in the large payload', (at) => [(at.at(-1) ?? 0) - 1_500_000], 0],
    ['three times', (at) => [at[2] ?? 0, 100_000, 200_000], 0],
  ];
  for (const [name, cutsOf] of resumes) {
    it(`goes on from the byte where it was cut: ${name}`, async () => {
      await open();
      const cuts = cutsOf(makeBundle(image).positions);
      server.cuts.push(...cuts);
      await home.complete();
      assert.deepEqual(home.present(contents), contents);
      assert.equal(server.deltas.length, cuts.length + 1);
      for (const { range } of server.deltas.slice(1)) assert.match(range ?? '', /^bytes=\d+-$/);
      assert.equal(server.blobRanges.length, 0);
    });
  }

  /** The second time that it is asked for, the bundle is another one. */
  const offerAnother = () => {
    const changed = makeBundle(image, { reference: 'another reference' });
    server.intercept = () => {
      if (server.deltas.length === 2) server.offer(changed, image);
      return false;
    };
  };

  it('starts anew, by digest, when the bundle is another one after a cut', async () => {
    await open();
    server.cuts.push((makeBundle(image).positions[3] ?? 0) + 1);
    offerAnother();
    await home.complete();
    assert.deepEqual(home.present(contents), contents);
    assert.equal(server.deltas.at(-1)?.url.searchParams.get('to'), `test/app@${image.manifest.digest}`);
  });

  const headerCuts: readonly (readonly [string, (positions: readonly number[]) => number])[] = [
    ['frame', () => 10],
    ['header', (at) => (at[0] ?? 0) - 7],
  ];
  for (const [where, cutOf] of headerCuts) {
    it(`starts anew when the bundle is another one after a cut in the ${where}`, async () => {
      await open();
      server.cuts.push(cutOf(makeBundle(image).positions));
      offerAnother();
      await home.complete();
      assert.deepEqual(home.present(contents), contents);
    });

    it(`starts anew after a cut in the ${where} of a bundle without entity tag`, async () => {
      await open();
      server.etag = undefined;
      server.cuts.push(cutOf(makeBundle(image).positions));
      await home.complete();
      assert.deepEqual(home.present(contents), contents);
    });
  }

  it('starts anew again when that bundle, too, is cut in its header and then another one', async () => {
    await open();
    const { positions } = makeBundle(image);
    server.cuts.push((positions[3] ?? 0) + 1, 0, 20);
    server.intercept = () => {
      const asked = server.deltas.length;
      if (asked > 1 && asked < 5) server.offer(makeBundle(image, { reference: `reference ${asked}` }), image);
      return false;
    };
    await home.complete();
    assert.deepEqual(home.present(contents), contents);
  });

  it('gives up a bundle that is another one after each cut in its header', async () => {
    await open();
    server.intercept = () => {
      server.offer(makeBundle(image, { reference: `reference ${server.deltas.length}` }), image);
      server.cuts.push(20);
      return false;
    };
    await assert.rejects(home.start(), kind('unavailable'));
  });

  it('refuses another image under the same tag after a cut', async () => {
    await open({ retries: 1 });
    server.cuts.push((makeBundle(image).positions[3] ?? 0) + 1);
    server.intercept = () => {
      if (server.deltas.length === 2) server.offer(makeBundle(other), other);
      return false;
    };
    const active = await home.start();
    await assert.rejects(active.done, kind('untrusted'));
    assert.equal(home.catalogue.find(image.manifest.digest)?.state, 'pulling');
    assert.match(home.catalogue.find(image.manifest.digest)?.error ?? '', /not of/);
  });

  it('gives up after so many cuts without progress, and a later pull goes on', async () => {
    await open({ retries: 2 });
    await cutFor(5);
    const before = home.present(contents).length;
    assert.ok(before > 0 && before < contents.length);
    const record = home.catalogue.find(image.manifest.digest);
    assert.ok(record !== undefined);
    const counts = await home.downloads.look(record, new AbortController().signal);
    assert.deepEqual([counts.contentsArrived, counts.contentsTotal], [before, contents.length]);
    server.intercept = undefined;
    await home.complete();
    assert.deepEqual(home.present(contents), contents);
  });

  it('asks over gaps of what is here already by ranges', async () => {
    await open();
    await home.complete();
    home.catalogue.setPulling(image.manifest.digest, 'this boot');
    home.store.delete(large);
    const before = server.deltas.length;
    await home.complete();
    assert.equal(home.store.has(large), true);
    assert.ok(server.deltas.length > before + 1 || server.blobRanges.length === 0);
  });

  it('a daemon started again takes up what is not complete', async () => {
    await open({ retries: 0 });
    await cutFor(5);
    await home.stop();
    await using next = await DownloadHome.open(server.url, { root: home.root });
    server.intercept = undefined;
    const arrived = next.store.wait(large, AbortSignal.timeout(20_000));
    next.downloads.resumeAll();
    await arrived;
    await next.downloads.activeOf(image.manifest.digest)?.done;
    assert.deepEqual(next.present(contents), contents);
    assert.equal(next.catalogue.find(image.manifest.digest)?.state, 'complete');
  });

  it('after a crash of the machine it looks at what it had', async () => {
    await open({ retries: 0, bootId: 'one boot' });
    await cutFor(5);
    const [damaged] = home.present(contents);
    assert.ok(damaged !== undefined);
    rmSync(home.store.pathOf(damaged));
    writeFileSync(home.store.pathOf(damaged), '');
    await home.stop();
    server.intercept = undefined;
    await using next = await DownloadHome.open(server.url, { root: home.root, bootId: 'another boot' });
    await next.complete();
    assert.equal(await next.store.rehash(damaged, new AbortController().signal), true);
  });

  it('a flipped byte is refused, and that content fetched alone', async () => {
    await open();
    const { bytes, positions } = makeBundle(image);
    for (const payload of [0, positions.length - 2]) {
      const at = ((positions[payload] ?? 0) + (positions[payload + 1] ?? 0)) >> 1;
      bytes[at] = (bytes[at] ?? 0) ^ 4;
    }
    server.bundle = bytes;
    await home.complete();
    assert.deepEqual(home.present(contents), contents);
    assert.ok(server.blobRanges.length > 0);
    const signal = new AbortController().signal;
    for (const digest of contents) assert.equal(await home.store.rehash(digest, signal), true);
  });

  it('contents in no payload are fetched alone', async () => {
    await open();
    server.offer(makeBundle(image, { payloadLimit: 2 }), image);
    await home.complete();
    assert.deepEqual(home.present(contents), contents);
    assert.ok(server.blobRanges.length > 0);
  });

  it('what is wrong in the registry too fails the pull, and everything else is here', async () => {
    await open();
    server.offer(makeBundle(image, { payloadLimit: 2 }), image);
    server.spoilBlob = (bytes) => (bytes.length > 1_000_000 ? Buffer.alloc(bytes.length) : bytes);
    await assert.rejects((await home.start()).done, kind('untrusted'));
    assert.deepEqual(
      contents.filter((digest) => !home.store.has(digest)),
      [large],
    );
    assert.equal(server.blobRanges.filter(({ range }) => range !== undefined).length > 3, true);
  });

  it('a payload that claims wrong places is refused and fetched alone', async () => {
    await open();
    const swap = (header: BundleHeader): BundleHeader => ({
      ...header,
      files: { ...header.files, innerOffset: header.files.innerOffset.map((offset) => offset + 1) },
    });
    server.offer(makeBundle(image, { header: swap }), image);
    await home.complete();
    assert.deepEqual(home.present(contents), contents);
  });

  describe('refuses', () => {
    const header = (change: (header: BundleHeader) => BundleHeader) => makeBundle(image, { header: change });
    const claim = (change: Partial<BundleHeader['images'][number]>) =>
      header((one) => ({ ...one, images: one.images.map((first) => ({ ...first, ...change })) }));

    const spoilt: readonly (readonly [string, () => Buffer | Promise<Buffer>, string])[] = [
      ['no bundle', () => Buffer.from('hello'.repeat(100)), 'malformed'],
      ['a bundle of two images', () => makeTwo().bytes, 'malformed'],
      ['another repository', () => claim({ name: 'test/other' }).bytes, 'untrusted'],
      ['a manifest digest that is not the bytes', () => spoilBlobBytes(0), 'untrusted'],
      ['a config that is not the bytes', () => spoilBlobBytes(1), 'untrusted'],
      [
        'a missing manifest',
        () => header((one) => ({ ...one, blobs: one.blobs.slice(1) })).bytes,
        'untrusted',
      ],
      [
        'a missing config',
        () => header((one) => ({ ...one, blobs: one.blobs.slice(0, 1) })).bytes,
        'untrusted',
      ],
      ['an index that is not there', () => claim({ indexDigest: digestOf('x') }).bytes, 'untrusted'],
      ['the ToC of another image', () => wrongToc().bytes, 'untrusted'],
      [
        'a ToC that is not its digest',
        () =>
          header((one) => ({ ...one, tocs: one.tocs.map((toc) => ({ ...toc, bytes: wrongTocBytes() })) }))
            .bytes,
        'untrusted',
      ],
      ['a content that the image does not have', () => header(farContent).bytes, 'malformed'],
      [
        'an unbound ToC',
        async () => makeBundle(await makeImage([[file('x', 'x')]], { tocDigest: null })).bytes,
        'untrusted',
      ],
      [
        'an annotation that names another ToC',
        async () => makeBundle(await makeImage([[file('x', 'x')]], { tocDigest: digestOf('another') })).bytes,
        'untrusted',
      ],
      [
        'a config with other diffIDs than the ToC',
        async () => makeBundle(await makeImage([[file('x', 'x')]], { diffIds: [digestOf('another')] })).bytes,
        'untrusted',
      ],
      [
        'a config with more diffIDs than layers',
        async () =>
          makeBundle(await makeImage([[file('x', 'x')]], { diffIds: [digestOf('a'), digestOf('b')] })).bytes,
        'untrusted',
      ],
      [
        'another platform',
        async () => makeBundle(await makeImage([[file('x', 'x')]], { architecture: 'arm64' })).bytes,
        'platform-unknown',
      ],
    ];
    const makeTwo = () =>
      header((one) => ({ ...one, images: [...one.images, ...one.images], tocs: [...one.tocs, ...one.tocs] }));
    const spoilBlobBytes = (row: number) =>
      header((one) => ({
        ...one,
        blobs: one.blobs.map((blob, at) => (at === row ? { ...blob, bytes: Buffer.from('{}') } : blob)),
      })).bytes;
    const wrongTocBytes = () => packToc(encodeImageToc(other.layers)).bytes;
    const wrongToc = () =>
      header((one) => ({
        ...one,
        images: one.images.map((first) => ({ ...first, tocDigest: other.tocDigest })),
        tocs: [packToc(encodeImageToc(other.layers))],
        files: { content: new Uint32Array(0), payload: new Uint32Array(0), innerOffset: new Float64Array(0) },
        payloads: { encoding: new Uint8Array(0), length: new Float64Array(0), dictionary: new Uint8Array(0) },
      }));
    const farContent = (one: BundleHeader): BundleHeader => ({
      ...one,
      files: { ...one.files, content: one.files.content.map((row, at) => (at === 0 ? 1_000_000 : row)) },
    });

    for (const [name, bytes, wanted] of spoilt) {
      it(name, async () => {
        await open();
        server.bundle = Buffer.from(await bytes());
        server.etag = undefined;
        await assert.rejects(async () => (await home.start()).done, kind(wanted));
        for (const record of home.catalogue.list()) assert.equal(record.state, 'pulling');
        assert.deepEqual(home.present(contents), []);
      });
    }

    it('a digest that was not asked for', async () => {
      await open();
      await assert.rejects(home.start({ digest: digestOf('asked for') }), kind('untrusted'));
      assert.deepEqual(home.catalogue.list(), []);
    });

    const answers: readonly (readonly [number, string, string])[] = [
      [404, 'NOT_CONVERTED', 'not-converted'],
      [404, 'NAME_UNKNOWN', 'not-found'],
      [404, 'MANIFEST_UNKNOWN', 'not-found'],
      [404, 'PLATFORM_UNKNOWN', 'platform-unknown'],
      [403, 'DENIED', 'denied'],
      [400, 'INVALID_REQUEST', 'invalid-request'],
      [400, 'UNSUPPORTED', 'invalid-request'],
      [503, 'UNAVAILABLE', 'unavailable'],
      [502, 'whatever', 'unavailable'],
      [418, 'whatever', 'invalid-request'],
    ];
    for (const [status, code, wanted] of answers) {
      it(`the answer ${status} ${code}`, async () => {
        await open({ retries: 1 });
        server.intercept = (_, response) => {
          response.writeHead(status).end(JSON.stringify({ errors: [{ code, message: 'the reason' }] }));
          return true;
        };
        await assert.rejects(home.start(), (error) => {
          assert.match(String(error), /the reason/);
          return kind(wanted)(error);
        });
      });
    }
  });

  it('takes an unbound ToC where the configuration accepts it', async () => {
    await open({ unboundToc: 'accept' });
    const unbound = await makeImage([[file('x', 'unbound')]], { tocDigest: null });
    server.offer(makeBundle(unbound), unbound);
    await home.complete();
    assert.equal(home.store.has(digestOf('unbound')), true);
  });

  describe('want()', () => {
    const record = () => {
      const found = home.catalogue.find(image.manifest.digest);
      assert.ok(found !== undefined);
      return found;
    };

    it('fetches what a lower layer alone has', async () => {
      await open();
      await home.complete();
      const hidden = digestOf('seen by the lower layer only');
      await home.downloads.want(record(), hidden, new AbortController().signal);
      assert.equal(home.store.has(hidden), true);
      assert.equal(server.blobRanges.length, 1);
    });

    it('waits for the first content of a bundle as for any other', async () => {
      await open();
      const [first] = contents;
      assert.ok(first !== undefined);
      server.holdAt = makeBundle(image).positions[0]; // the header, and nothing more
      const active = await home.start();
      assert.equal(home.store.has(first), false);
      await home.downloads.want(record(), first, new AbortController().signal);
      assert.equal(home.store.has(first), true);
      server.cutHeld(false);
      await active.done;
    });

    it('fetches out of turn what is far behind in a stream that stands still', async () => {
      await open();
      let release: (() => void) | undefined;
      server.intercept = (_, response, url) => {
        if (url.pathname !== '/starlight/delta') return false;
        const { bytes, positions } = makeBundle(image);
        response.writeHead(200, { 'content-type': 'application/vnd.starlight.bundle.v1', etag: '"x"' });
        response.write(bytes.subarray(0, positions[1]));
        release = () => response.end(bytes.subarray(positions[1]));
        return true;
      };
      const active = await home.start();
      await home.downloads.want(record(), large, new AbortController().signal);
      assert.equal(home.store.has(large), true);
      assert.ok(home.present(contents).length < contents.length);
      release?.();
      await active.done;
      assert.deepEqual(home.present(contents), contents);
    });

    it('ends when the waiter leaves', async () => {
      await open();
      await home.complete();
      server.intercept = () => true; // never answers
      const leaving = new AbortController();
      const waiting = home.downloads.want(record(), digestOf('seen by the lower layer only'), leaving.signal);
      setImmediate(() => leaving.abort(new Error('left')));
      await assert.rejects(waiting, /left/);
    });

    it('rejects for a content of no layer', async () => {
      await open();
      await home.complete();
      const waiting = home.downloads.want(record(), digestOf('nowhere'), new AbortController().signal);
      await assert.rejects(waiting, kind('not-found'));
    });
  });

  describe('credentials', () => {
    const wantsBasic = (authorization: string | undefined) =>
      authorization === `Basic ${Buffer.from('user:secret').toString('base64')}`;

    it('are sent when the registry asks for them, and not before', async () => {
      await open({ credentials: { username: 'user', password: 'secret' } });
      server.intercept = (request, response) => {
        if (wantsBasic(request.headers.authorization)) return false;
        response.writeHead(401, { 'www-authenticate': 'Basic realm="registry"' }).end();
        return true;
      };
      await home.complete();
      assert.equal(server.deltas[0]?.authorization, undefined);
      assert.ok(wantsBasic(server.deltas[1]?.authorization));
    });

    it('become a token, which is kept', async () => {
      await open({ credentials: { username: 'user', password: 'secret' } });
      server.offer(makeBundle(image, { payloadLimit: 2 }), image);
      let tokens = 0;
      server.intercept = (request, response, url) => {
        if (url.pathname === '/token') {
          tokens += 1;
          assert.ok(wantsBasic(request.headers.authorization));
          assert.equal(url.searchParams.get('scope'), 'repository:test/app:pull');
          assert.equal(url.searchParams.get('service'), 'registry');
          response.end(JSON.stringify({ token: 'the-token', expires_in: 300 }));
          return true;
        }
        if (request.headers.authorization === 'Bearer the-token') return false;
        const challenge = `Bearer realm="${server.url}/token",service="registry",scope="repository:test/app:pull"`;
        response.writeHead(401, { 'www-authenticate': challenge }).end();
        return true;
      };
      await home.complete();
      assert.equal(tokens, 1);
    });

    const failures: readonly (readonly [string, string | undefined, HomeOptions])[] = [
      ['none are known', 'Basic realm="x"', {}],
      ['they are wrong', 'Basic realm="x"', { credentials: { username: 'user', password: 'wrong' } }],
      ['the scheme is unknown', 'Negotiate', { credentials: { username: 'user', password: 'secret' } }],
      ['there is no challenge', undefined, { credentials: { username: 'user', password: 'secret' } }],
      [
        'the token service is elsewhere and in the clear',
        'Bearer realm="http://elsewhere.example/token"',
        { credentials: { username: 'user', password: 'secret' } },
      ],
    ];
    for (const [name, challenge, options] of failures) {
      it(`fail as unauthorized when ${name}`, async () => {
        await open(options);
        server.intercept = (_, response) => {
          response.writeHead(401, challenge === undefined ? {} : { 'www-authenticate': challenge }).end();
          return true;
        };
        await assert.rejects(home.start(), kind('unauthorized'));
      });
    }
  });

  it('a long inventory is posted', async () => {
    await open();
    const from = Array.from({ length: 4 }, (_, row) => `${'long/'.repeat(300)}name@${digestOf(`${row}`)}`);
    await home.complete({ from });
    assert.equal(server.deltas[0]?.method, 'POST');
  });

  it('names the images here of which everything has arrived', async () => {
    await open();
    await home.complete();
    server.offer(makeBundle(other), other);
    await home.complete({ tag: 'v2' });
    assert.deepEqual(server.deltas.at(-1)?.url.searchParams.getAll('from'), [
      `test/app@${image.manifest.digest}`,
    ]);
  });

  describe('collecting', () => {
    it('keeps what a live image has, and removes the rest', async () => {
      await open();
      await home.complete();
      server.offer(makeBundle(other), other);
      const active = await home.complete({ tag: 'v2' });
      for (const record of home.catalogue.list()) {
        const name = {
          namespace: 'n',
          reference: 'r',
          manifestDigest: record.manifestDigest,
          registered: true,
        };
        home.catalogue.putName({ ...name, reference: record.manifestDigest }, record.platform);
      }
      const top = active.image.layers.at(-1);
      assert.ok(top !== undefined);
      home.liveChains.add(top.chainId);
      const result = await home.collector.collect(new AbortController().signal);
      assert.deepEqual([result.removedImages, result.removedContents], [1, contents.length]);
      assert.deepEqual(
        home.catalogue.list().map(({ manifestDigest }) => manifestDigest),
        [other.manifest.digest],
      );
      assert.equal(home.store.has(digestOf('another image')), true);
      await assert.rejects(home.documents.get(image.manifest.digest), /ENOENT/);
      await home.documents.get(other.manifest.digest);
    });

    it('spares an image that is being pulled', async () => {
      await open();
      const active = await home.start();
      await home.collector.collect(new AbortController().signal);
      await active.done;
      assert.deepEqual(home.present(contents), contents);
    });
  });
});
