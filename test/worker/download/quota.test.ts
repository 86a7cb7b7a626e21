import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { mergeLayers } from '../../../schemas/toc/merge.ts';
import { StoreError, type StoreFault } from '../../../worker/store/store-error.ts';
import { type MadeImage, makeImage } from '../../extensions/starlight/made-image.ts';
import { BundleServer, makeBundle } from '../../support/bundle-server.ts';
import { skip } from '../../support/skip.ts';
import { directory, file } from '../../support/tar.ts';
import { DownloadHome, type HomeOptions } from './download-home.ts';

const SIGNAL = new AbortController().signal;
/** What a content of these tests takes up. */
const UNIT = 40_960;

const TYPE = { 'content-type': MEDIA_TYPE.starlightBundle };

type Named = { readonly image: MadeImage; readonly contents: readonly Digest[] };

const fault = (kind: StoreFault['kind']) => (error: unknown) =>
  error instanceof StoreError && error.fault.kind === kind;

/** Each image holds contents named by letters, `UNIT` each; the same letter is the same content. */
describe('Downloads under a quota', function () {
  this.timeout(60_000);
  const made = new Map<string, Named>();
  const letters = new Map<string, Buffer>();
  let server: BundleServer;
  let home: DownloadHome;
  const opened: DownloadHome[] = [];
  /** Answers that end after the header, until their image is let go. */
  const withheld = new Map<string, ServerResponse>();

  const bytesOf = (letter: string): Buffer => {
    const bytes = letters.get(letter) ?? randomBytes(UNIT - 100);
    letters.set(letter, bytes);
    return bytes;
  };
  const named = (name: string): Named => {
    const found = made.get(name);
    if (found === undefined) throw new Error(`no image ${name} was made`);
    return found;
  };
  const digestIn = (name: string): Digest => named(name).image.manifest.digest;

  before(async () => {
    for (const name of ['abc', 'def', 'ghi', 'abx', 'xyz', 'adg', 'jklmnopq']) {
      const files = [...name].map((letter) => file(`data/${letter}`, bytesOf(letter)));
      const image = await makeImage([[directory('data'), ...files]]);
      const tree = mergeLayers(image.layers);
      const contents = Array.from({ length: tree.contentCount }, (_, row) => tree.digestOfContent(row));
      made.set(name, { image, contents });
    }
  });
  beforeEach(async () => {
    server = await BundleServer.start();
    withheld.clear();
  });
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });

  const open = async (units: number, options: HomeOptions = {}) => {
    home = await DownloadHome.open(server.url, { retries: 0, quotaBytes: units * UNIT, ...options });
    opened.push(home);
    return home;
  };
  const offer = (name: string): void => server.offer(makeBundle(named(name).image), named(name).image);
  const start = (name: string) => {
    offer(name);
    return home.start({ tag: undefined, digest: digestIn(name) });
  };
  const pull = async (name: string): Promise<void> => (await start(name)).done;
  /** Begins a pull of which nothing but the header comes. */
  const begin = (name: string) => {
    const bundle = makeBundle(named(name).image);
    server.intercept = (_, response, url) => {
      if (url.pathname !== '/starlight/delta') return false;
      response.writeHead(200, { ...TYPE, 'content-length': bundle.bytes.length, etag: `"${name}"` });
      response.write(bundle.bytes.subarray(0, bundle.positions[0]));
      withheld.set(name, response);
      server.intercept = undefined;
      return true;
    };
    return start(name);
  };
  const letGo = (name: string): void => {
    const { bytes, positions } = makeBundle(named(name).image);
    withheld.get(name)?.end(bytes.subarray(positions[0]));
  };
  const here = (): string[] =>
    [...made.keys()].filter((name) => home.catalogue.find(digestIn(name)) !== undefined);
  const units = async (): Promise<number> => (await home.store.usage(SIGNAL)).bytes / UNIT;
  const lettersHere = (): string =>
    [...letters]
      .filter(([, bytes]) => home.store.has(digestOf(bytes)))
      .map(([letter]) => letter)
      .sort()
      .join('');

  /** Pulls images one after the other; `used` then says in which order they were used. */
  const pullAll = async (names: readonly string[], used: readonly string[] = names): Promise<void> => {
    for (const name of names) await pull(name);
    for (const [row, name] of used.entries()) home.catalogue.setUsed([digestIn(name)], row);
    home.register();
  };

  it('keeps what nothing needs while there is room, and names it to the proxy', async () => {
    await open(10);
    await pullAll(['abc']);
    const collected = await home.collector.collect(SIGNAL);
    assert.equal(collected.removedImages, 0);
    assert.equal(lettersHere(), 'abc');
    await pull('abx');
    assert.deepEqual(server.deltas.at(-1)?.url.searchParams.getAll('from'), [`test/app@${digestIn('abc')}`]);
    assert.equal(await units(), 4);
  });

  it('without a quota removes it at once', async () => {
    await open(0);
    await pullAll(['abc']);
    assert.deepEqual(await home.collector.collect(SIGNAL), {
      removedImages: 1,
      removedContents: 3,
      removedBytes: 3 * UNIT,
    });
  });

  it('does not keep what is not complete', async () => {
    await open(10);
    const active = await begin('abc');
    withheld.get('abc')?.destroy();
    server.intercept = (request) => request.socket.destroy() !== undefined;
    await assert.rejects(active.done);
    home.register();
    assert.equal((await home.collector.collect(SIGNAL)).removedImages, 1);
  });

  it('collectAll() removes what was kept', async () => {
    await open(10);
    await pullAll(['abc', 'def']);
    home.register(digestIn('def'));
    const collected = await home.collector.collectAll(SIGNAL);
    assert.deepEqual(collected, { removedImages: 1, removedContents: 3, removedBytes: 3 * UNIT });
    assert.deepEqual(here(), ['def']);
    await assert.rejects(home.documents.get(digestIn('abc')), /ENOENT/);
    await home.documents.get(digestIn('def'));
  });

  describe('evicts', () => {
    const rows: readonly {
      readonly what: string;
      readonly quota: number;
      readonly images: readonly string[];
      readonly used?: readonly string[];
      readonly live?: readonly string[];
      readonly wanted: string;
      readonly left: readonly string[];
      readonly letters: string;
    }[] = [
      {
        what: 'nothing while there is room',
        ...{ quota: 9, images: ['abc', 'def'], wanted: 'ghi' },
        ...{ left: ['abc', 'def', 'ghi'], letters: 'abcdefghi' },
      },
      {
        what: 'the image used longest ago',
        ...{ quota: 8, images: ['abc', 'def'], wanted: 'ghi' },
        ...{ left: ['def', 'ghi'], letters: 'defghi' },
      },
      {
        what: 'by use, not by age',
        ...{ quota: 8, images: ['abc', 'def'], used: ['def', 'abc'], wanted: 'ghi' },
        ...{ left: ['abc', 'ghi'], letters: 'abcghi' },
      },
      {
        what: 'as many as it takes',
        ...{ quota: 9, images: ['abc', 'def', 'ghi'], wanted: 'jklmnopq' },
        ...{ left: ['jklmnopq'], letters: 'jklmnopq' },
      },
      {
        what: 'what no snapshot needs, be it the last used',
        ...{ quota: 8, images: ['abc', 'def'], live: ['abc'], wanted: 'ghi' },
        ...{ left: ['abc', 'ghi'], letters: 'abcghi' },
      },
      {
        what: 'no content that a needed image has as well',
        ...{ quota: 6, images: ['abc', 'abx'], live: ['abx'], wanted: 'def' },
        ...{ left: ['def', 'abx'], letters: 'abdefx' },
      },
      {
        what: 'no content that the wanted image has as well',
        ...{ quota: 4, images: ['abc'], wanted: 'adg' },
        ...{ left: ['adg'], letters: 'adg' },
      },
      {
        what: 'what several have only with the last of them',
        ...{ quota: 7, images: ['abc', 'abx', 'def'], wanted: 'ghi' },
        ...{ left: ['def', 'ghi'], letters: 'defghi' },
      },
      {
        what: 'for what is missing only',
        ...{ quota: 4, images: ['abc'], wanted: 'abx' },
        ...{ left: ['abc', 'abx'], letters: 'abcx' },
      },
    ];
    for (const row of rows) {
      it(row.what, async () => {
        await open(row.quota);
        await pullAll(row.images, row.used);
        home.register(...(row.live ?? []).map(digestIn));
        await pull(row.wanted);
        assert.deepEqual(here(), row.left);
        assert.equal(lettersHere(), row.letters);
        assert.equal(home.quota.reservedBytes, 0);
        for (const name of row.left) {
          assert.equal(home.catalogue.find(digestIn(name))?.state, 'complete');
          assert.deepEqual(home.present(named(name).contents), named(name).contents);
        }
      });
    }
  });

  describe('refuses', () => {
    const rows: readonly (readonly [string, number, readonly string[], readonly string[], string])[] = [
      ['what is larger than the quota', 7, [], [], 'jklmnopq'],
      ['what does not fit beside needed images', 8, ['abc', 'def'], ['abc', 'def'], 'ghi'],
      ['what does not fit although something could go', 9, ['abc', 'def'], ['abc'], 'jklmnopq'],
    ];
    for (const [what, quota, images, live, wanted] of rows) {
      it(`${what}: before any payload, and everything else stays`, async () => {
        await open(quota);
        await pullAll(images);
        home.register(...live.map(digestIn));
        const before = lettersHere();
        await assert.rejects(begin(wanted), fault('quota-exceeded')); // no more than the header was sent
        assert.deepEqual(here(), images);
        assert.equal(lettersHere(), before);
        assert.equal(home.quota.reservedBytes, 0);
        await home.collector.collect(SIGNAL);
        await assert.rejects(home.documents.get(digestIn(wanted)), /ENOENT/);
      });
    }

    it('and tells the figures', async () => {
      await open(8);
      await pullAll(['abc', 'def']);
      home.register(digestIn('abc'));
      await assert.rejects(pull('jklmnopq'), (error) => {
        assert.ok(error instanceof StoreError);
        assert.deepEqual(error.fault, {
          kind: 'quota-exceeded',
          neededBytes: 8 * UNIT,
          limitBytes: 8 * UNIT,
          usedBytes: 6 * UNIT,
          reservedBytes: 0,
          evictableBytes: 3 * UNIT,
        });
        return true;
      });
    });

    it('and takes it as soon as there is room', async () => {
      await open(5);
      await pullAll(['abc']);
      home.register(digestIn('abc'));
      await assert.rejects(pull('def'), fault('quota-exceeded'));
      home.register();
      await pull('def');
      assert.equal(lettersHere(), 'def');
    });
  });

  it('a pull whose image is removed is ended, and gives back what it reserved', async () => {
    await open(5);
    const active = await begin('abc');
    home.register(digestIn('abc'));
    await home.collector.collect(SIGNAL);
    assert.equal(home.quota.reservedBytes, 3 * UNIT); // a snapshot stands on it
    home.register();
    const unpin = home.collector.pin([digestIn('abc')]);
    await home.collector.collect(SIGNAL);
    assert.equal(home.quota.reservedBytes, 3 * UNIT); // somebody waits for its end
    unpin();
    assert.equal((await home.collector.collect(SIGNAL)).removedImages, 1);
    await assert.rejects(active.done, /removed while it was pulled/);
    assert.equal(home.quota.reservedBytes, 0);
    assert.deepEqual(here(), []);
    const answer = withheld.get('abc');
    if (answer?.closed === false) await once(answer, 'close'); // the transfer has ended, and is not taken up again
    assert.equal(server.deltas.length, 1);
    await pull('abc');
    assert.equal(lettersHere(), 'abc');
  });

  it('who is ended while waiting for room does not wait for the run that ends it', async () => {
    await open(5);
    await pullAll(['abc']);
    const ended = Promise.withResolvers<void>();
    const ending = new AbortController();
    const unpin = home.collector.pinDownload(digestIn('abc'), async () => {
      ending.abort(new Error('ended'));
      await ended.promise;
    });
    const collecting = home.collector.collect(SIGNAL);
    await assert.rejects(home.room.makeRoom(1, ending.signal), /ended/);
    unpin();
    ended.resolve();
    await collecting;
  });

  describe('at once', () => {
    it('two pulls share what both are to bring', async () => {
      await open(4);
      const first = await begin('abc');
      const second = await begin('abx');
      assert.equal(home.quota.reservedBytes, 4 * UNIT);
      letGo('abc');
      letGo('abx');
      await Promise.all([first.done, second.done]);
      assert.equal(home.quota.reservedBytes, 0);
      assert.equal(await units(), 4);
    });

    it('the first to come has the room, and gives it back when it fails', async () => {
      await open(5);
      const first = await begin('abc');
      await assert.rejects(begin('def'), fault('quota-exceeded'));
      withheld.get('abc')?.destroy();
      server.intercept = (request) => request.socket.destroy() !== undefined;
      await assert.rejects(first.done);
      assert.equal(home.quota.reservedBytes, 0);
      server.intercept = undefined;
      await pull('def');
      assert.equal(lettersHere(), 'def');
    });

    it('many ask for more than there is: those that are taken fit', async () => {
      await open(7);
      const bundles = ['abc', 'def', 'ghi', 'xyz'].map((name) => ({ name, ...named(name) }));
      for (const { image } of bundles) server.offer(makeBundle(image), image); // their blobs, for the rest by ranges
      server.intercept = (_, response, url) => {
        const bundle = bundles.find(({ image }) =>
          url.searchParams.get('to')?.endsWith(image.manifest.digest),
        );
        if (bundle === undefined) return false;
        response.writeHead(200, TYPE).end(makeBundle(bundle.image).bytes);
        return true;
      };
      const outcomes = await Promise.allSettled(
        bundles.map(async ({ name }) => {
          const active = await home.start({ tag: undefined, digest: digestIn(name) });
          await active.done;
        }),
      );
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 2);
      for (const outcome of outcomes) {
        if (outcome.status === 'rejected') assert.ok(fault('quota-exceeded')(outcome.reason));
      }
      assert.equal(await units(), 6);
      assert.equal(home.quota.reservedBytes, 0);
    });

    it('an image that comes into use in the middle of an eviction is spared', async () => {
      let questions = 0;
      const top = () => home.catalogue.find(digestIn('abc'))?.layers.at(-1)?.chainId;
      await open(8, {
        onDivide: () => {
          const chain = top();
          questions += 1;
          // The first two lead to the plan; now the image is to be removed, and a snapshot appears.
          if (questions === 3 && chain !== undefined) home.liveChains.add(chain);
        },
      });
      await pullAll(['abc', 'def']);
      questions = 0;
      await pull('ghi');
      assert.ok(questions > 3, `${questions} questions`);
      assert.deepEqual(here(), ['abc', 'ghi']);
      assert.equal(lettersHere(), 'abcghi');
    });

    it('what is being pulled is never evicted, for however many pulls', async () => {
      await open(6);
      const first = await begin('abc');
      await home.collector.collectAll(SIGNAL);
      await pull('def');
      await assert.rejects(pull('jklmnopq'), fault('quota-exceeded'));
      letGo('abc');
      await first.done;
      assert.deepEqual(home.present(named('abc').contents), named('abc').contents);
    });
  });

  it('images that a pull took from are used, and go last', async () => {
    await open(7);
    await pullAll(['abc', 'def']); // abc was used before def
    const image = named('abx').image;
    const from = [
      { name: 'test/app', manifestDigest: digestIn('abc'), tocDigest: named('abc').image.tocDigest },
    ];
    server.offer(makeBundle(image, { header: (header) => ({ ...header, from }) }), image);
    await (await home.start({ tag: undefined, digest: digestIn('abx') })).done;
    home.register(digestIn('abx'));
    await pull('ghi');
    assert.deepEqual(here(), ['abc', 'ghi', 'abx']);
  });

  describe('started again', () => {
    it('knows what there is, and goes on', async () => {
      await open(7);
      await pullAll(['abc', 'def']);
      const before = await home.store.usage(SIGNAL);
      await home.stop();
      await open(7, { root: home.root });
      assert.deepEqual(await home.store.usage(SIGNAL), before);
      await pull('ghi');
      assert.deepEqual(here(), ['def', 'ghi']);
      assert.equal(lettersHere(), 'defghi');
    });

    it('with a smaller quota removes what is too much', async () => {
      await open(9);
      await pullAll(['abc', 'def', 'ghi']);
      await home.stop();
      await open(4, { root: home.root });
      home.register(digestIn('abc'));
      assert.equal((await home.collector.collect(SIGNAL)).removedImages, 2);
      assert.deepEqual(here(), ['abc']);
      assert.equal(await units(), 3);
    });

    it('after a crash in the middle of an eviction removes the rest of it', async () => {
      await open(9);
      await pullAll(['abc', 'def']);
      // An eviction forgets the image first, then removes contents: this is where it stopped.
      home.catalogue.remove([digestIn('abc')]);
      home.store.delete(digestOf(bytesOf('a')));
      await home.stop();
      await open(9, { root: home.root });
      assert.equal(lettersHere(), 'bcdef');
      assert.equal((await home.collector.collect(SIGNAL)).removedContents, 2);
      assert.equal(lettersHere(), 'def');
      assert.equal(await units(), 3);
      await pull('abc');
      assert.equal(lettersHere(), 'abcdef');
    });

    it('reserves anew what a pull had not brought', async () => {
      await open(5);
      const active = await begin('abc');
      await home.stop();
      await assert.rejects(active.done);
      await open(5, { root: home.root });
      await begin('abc');
      assert.equal(home.quota.reservedBytes, 3 * UNIT);
      await assert.rejects(pull('def'), fault('quota-exceeded'));
    });
  });

  describe('on a disk that is full', () => {
    let disk = '';
    beforeEach(function () {
      if (process.getuid?.() !== 0) skip(this, 'mounting a small disk needs root');
      disk = mkdtempSync(join(tmpdir(), 'sl-quota-'));
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'starlight-test', disk]);
    });
    afterEach(() => {
      if (disk === '') return;
      execFileSync('umount', ['--lazy', disk]); // the homes on it are closed afterwards
      rmSync(disk, { recursive: true });
      disk = '';
    });

    /** Leaves room for so many contents, and for the database to grow. */
    const fill = (contents: number): void => {
      const { bavail, bsize } = statfsSync(disk);
      const free = (contents + 0.9) * UNIT;
      writeFileSync(join(disk, 'filler'), Buffer.alloc(bavail * bsize - free));
    };

    it('says so, shows nothing partial, and goes on when there is room', async () => {
      await open(0, { root: disk });
      const active = await begin('jklmnopq');
      fill(4);
      letGo('jklmnopq');
      await assert.rejects(active.done, fault('no-space'));
      assert.match(
        home.catalogue.find(digestIn('jklmnopq'))?.error ?? '',
        /the disk is full .*no space left/,
      );
      assert.ok(lettersHere().length > 0 && lettersHere().length <= 4, lettersHere());
      for (const digest of home.present(named('jklmnopq').contents)) {
        assert.equal(await home.store.rehash(digest, SIGNAL), true);
      }
      assert.deepEqual(readdirSync(join(disk, 'contents/tmp')), []);
      rmSync(join(disk, 'filler'));
      await pull('jklmnopq');
      assert.equal(lettersHere(), 'jklmnopq');
      assert.equal(home.catalogue.find(digestIn('jklmnopq'))?.error, undefined);
    });

    it('evicts what nothing needs, whatever the quota', async () => {
      await open(1000, { root: disk });
      await pullAll(['abc', 'def']);
      home.register(digestIn('def'));
      const active = await begin('ghi');
      fill(1);
      letGo('ghi');
      await active.done;
      assert.deepEqual(here(), ['def', 'ghi']);
      assert.equal(lettersHere(), 'defghi');
    });
  });
});
