import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  type Directory,
  DirectoryError,
  type ImageRecord,
  type IngestRecord,
  type LayerRecord,
  MAX_RANKS,
  type RankRow,
} from '../../extensions/starlight/directory.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';

const SIGNAL = new AbortController().signal;
const PLATFORM = 'linux/amd64';

const newDigest = (): Digest => digestOf(randomBytes(16));
const repository = () => ({ registry: 'origin.example', name: `team/${randomBytes(6).toString('hex')}` });
const row = (path: string, rankSum: number, hits: number): RankRow => ({
  path: Buffer.from(path, 'latin1'),
  content: path.length,
  rankSum,
  hits,
});
const plain = (rows: readonly RankRow[]) =>
  rows.map(({ path, content, rankSum, hits }) => {
    assert.equal(content, path.length);
    return [Buffer.from(path).toString('latin1'), rankSum, hits];
  });

let layersMade = 0;
let imagesMade = 0;

function layerRecord(): LayerRecord {
  return {
    ...(layersMade++ % 2 === 0 ? {} : { estargzTocDigest: newDigest() }),
    digest: newDigest(),
    diffId: newDigest(),
    sizeBytes: 5_000_000_000,
    toc: { bytes: randomBytes(300), sizeBytes: 900 },
  };
}

function imageRecord(layers: readonly LayerRecord[], platform = PLATFORM): ImageRecord {
  const document = () => {
    const bytes = randomBytes(64);
    return { digest: digestOf(bytes), mediaType: 'application/json', bytes };
  };
  return {
    manifest: document(),
    config: document(),
    platform,
    tocDigest: newDigest(),
    tocBound: true,
    toc: { bytes: randomBytes(500), sizeBytes: 1500 },
    shown: { bytes: randomBytes(50), sizeBytes: 170 },
    ...(imagesMade++ % 2 === 0 ? { startOrder: randomBytes(40) } : {}),
    layers: layers.map(({ digest, diffId, sizeBytes }) => ({ digest, diffId, sizeBytes })),
  };
}

function ingestOf(fields: Partial<IngestRecord> = {}): IngestRecord {
  const layers = fields.layers ?? [layerRecord(), layerRecord()];
  return {
    repository: repository(),
    layers,
    images: [{ image: imageRecord(layers), inherited: [] }],
    known: [],
    ...fields,
  };
}

function onlyImage(ingest: IngestRecord): ImageRecord {
  const [first] = ingest.images;
  if (first === undefined) throw new Error('the ingest has no image');
  return first.image;
}

/**
 * What every Directory must do. `open` gives two handles on the same, migrated database, as two replicas
 * have them (the same handle twice where there can be only one process); the suite closes them.
 */
export function directorySuite(name: string, open: () => Promise<readonly [Directory, Directory]>): void {
  describe(`Directory: ${name}`, function () {
    this.timeout(60_000);
    let one: Directory;
    let two: Directory;
    before(async () => {
      [one, two] = await open();
    });
    after(async () => {
      await one?.close();
      if (two !== one) await two?.close();
    });

    it('gives back an image byte for byte', async () => {
      const index = { digest: newDigest(), mediaType: 'application/json', bytes: randomBytes(20) };
      const ingest = ingestOf({ index, tag: 'v1' });
      const image = onlyImage(ingest);
      assert.deepEqual(await one.record(ingest, SIGNAL), [image.manifest.digest]);
      const found = await two.image(image.manifest.digest, SIGNAL);
      assert.ok(found !== undefined);
      assert.deepEqual(asBuffers(found), asBuffers(image));
      const layers = await two.layers(
        ingest.repository.registry,
        image.layers.map(({ digest }) => digest),
        SIGNAL,
      );
      const byDigest = new Map(layers.map((layer) => [layer.digest, layer]));
      for (const layer of ingest.layers) {
        assert.deepEqual(asBuffers(byDigest.get(layer.digest)), asBuffers(layer));
      }
    });

    it('keeps in which order an image starts, and that nothing is known of it', async () => {
      const layers = [layerRecord()];
      const { startOrder: _, ...plain } = imageRecord(layers);
      const known = { ...imageRecord(layers), startOrder: Buffer.from([1, 2, 0, 255]) };
      const images = [plain, known].map((image) => ({ image, inherited: [] }));
      await one.record(ingestOf({ layers, images }), SIGNAL);
      const found = await two.image(known.manifest.digest, SIGNAL);
      assert.deepEqual(asBuffers(found?.startOrder), known.startOrder);
      assert.equal((await two.image(plain.manifest.digest, SIGNAL))?.startOrder, undefined);
      // What is known stays, whoever ingests again and finds another order, or none.
      for (const startOrder of [Buffer.from('another'), undefined]) {
        const image = {
          ...plain,
          ...(startOrder === undefined ? {} : { startOrder }),
          manifest: known.manifest,
        };
        await two.record(ingestOf({ layers, images: [{ image, inherited: [] }] }), SIGNAL);
      }
      const kept = await one.image(known.manifest.digest, SIGNAL);
      assert.deepEqual(asBuffers(kept?.startOrder), known.startOrder);
    });

    it('knows what a tag names, and the repositories of a registry', async () => {
      const where = { registry: `${randomBytes(4).toString('hex')}.example`, name: 'team/app' };
      const index = { digest: newDigest(), mediaType: 'application/json', bytes: randomBytes(20) };
      const other = ingestOf({ repository: where, tag: 'v2' });
      await one.record(ingestOf({ repository: where, tag: 'v1', index }), SIGNAL);
      await one.record(other, SIGNAL);
      const tagged = (tag: string, digest: Digest, name = where.name) =>
        two.tagged({ ...where, name }, tag, digest, SIGNAL);
      assert.equal(await tagged('v1', index.digest), true);
      assert.equal(await tagged('v2', onlyImage(other).manifest.digest), true);
      assert.equal(await tagged('v2', index.digest), false);
      assert.equal(await tagged('v3', index.digest), false);
      assert.equal(await tagged('v1', index.digest, 'team/other'), false);
      assert.deepEqual(await two.repositories(where.registry, SIGNAL), ['team/app']);
      assert.deepEqual(await two.repositories('nowhere.example', SIGNAL), []);
    });

    it('keeps the order of layers, and one layer that stands twice', async () => {
      const layers = Array.from({ length: 12 }, layerRecord);
      const [first] = layers;
      assert.ok(first !== undefined);
      const image = imageRecord([...layers, first]);
      await one.record(ingestOf({ layers, images: [{ image, inherited: [] }] }), SIGNAL);
      const found = await one.image(image.manifest.digest, SIGNAL);
      assert.deepEqual(found?.layers, image.layers);
    });

    it('writes where a known image is held and what names it, without the image', async () => {
      const ingest = ingestOf();
      const image = onlyImage(ingest);
      await one.record(ingest, SIGNAL);
      const { platform, tocDigest } = image;
      const summary = { manifestDigest: image.manifest.digest, platform, tocDigest };
      assert.deepEqual(await two.summary(ingest.repository.registry, image.manifest.digest, SIGNAL), summary);
      const where = repository();
      const known = { repository: where, tag: 'v1', layers: [], images: [], known: [summary] };
      assert.deepEqual(await two.record(known, SIGNAL), []);
      assert.equal(await one.holds(where, image.manifest.digest, SIGNAL), true);
      const question = { repository: where, tag: 'v1', platform, except: newDigest() };
      assert.equal(await one.predecessor(question, SIGNAL), image.manifest.digest);
    });

    it('knows images and layers of a registry from what its own repositories hold', async () => {
      const ingest = ingestOf();
      const image = onlyImage(ingest);
      await one.record(ingest, SIGNAL);
      const other = { registry: 'other.example', name: ingest.repository.name };
      const digests = image.layers.map(({ digest }) => digest);
      const known = async (registry: string) => [
        (await two.summary(registry, image.manifest.digest, SIGNAL)) !== undefined,
        (await two.layers(registry, digests, SIGNAL)).length,
      ];
      assert.deepEqual(await known(ingest.repository.registry), [true, digests.length]);
      assert.deepEqual(await known(other.registry), [false, 0]);
      assert.deepEqual(await one.record({ ...ingest, repository: other }, SIGNAL), []);
      assert.deepEqual(await known(other.registry), [true, digests.length]);
    });

    it('refuses to write that an unknown image is held', async () => {
      const summary = { manifestDigest: newDigest(), platform: PLATFORM, tocDigest: newDigest() };
      await assert.rejects(one.record(ingestOf({ layers: [], images: [], known: [summary] }), SIGNAL));
    });

    it('answers misses as misses', async () => {
      assert.equal(await one.summary('origin.example', newDigest(), SIGNAL), undefined);
      assert.equal(await one.image(newDigest(), SIGNAL), undefined);
      assert.deepEqual(await one.layers('origin.example', [newDigest()], SIGNAL), []);
      assert.deepEqual(await one.layers('origin.example', [], SIGNAL), []);
      assert.deepEqual(await one.ranks(newDigest(), SIGNAL), { version: 0, ranks: [] });
      assert.equal(await one.holds(repository(), newDigest(), SIGNAL), false);
      assert.equal(await one.addRanks(repository(), newDigest(), [row('a', 0, 1)], SIGNAL), undefined);
      assert.deepEqual(await one.groups(newDigest(), SIGNAL), []);
    });

    it('knows an image only in the repositories that held it', async () => {
      const ingest = ingestOf();
      const { digest } = onlyImage(ingest).manifest;
      await one.record(ingest, SIGNAL);
      const { registry, name } = ingest.repository;
      assert.equal(await one.holds({ registry, name }, digest, SIGNAL), true);
      assert.equal(await one.holds({ registry: 'elsewhere.example', name }, digest, SIGNAL), false);
      assert.equal(await one.addRanks(repository(), digest, [row('a', 0, 1)], SIGNAL), undefined);
      const copy = { ...ingest, repository: repository() };
      assert.deepEqual(await one.record(copy, SIGNAL), []);
      assert.equal(await one.holds(copy.repository, digest, SIGNAL), true);
    });

    it('ingests again without changing anything, ranks least of all', async () => {
      const ingest = ingestOf({ tag: 'v1' });
      const image = onlyImage(ingest);
      await one.record(ingest, SIGNAL);
      const ranks = [row('bin/sh', 0, 1), row('lib/\xff\xfe', 7.5, 3)];
      assert.equal(await one.addRanks(ingest.repository, image.manifest.digest, ranks, SIGNAL), 1);
      const again = { ...ingest, images: [{ image, inherited: [row('bin/sh', 99, 1)] }] };
      assert.deepEqual(await two.record(again, SIGNAL), []);
      const kept = await two.ranks(image.manifest.digest, SIGNAL);
      assert.equal(kept.version, 1);
      assert.deepEqual(plain(kept.ranks), plain(ranks));
    });

    it('gives inherited ranks to a new image', async () => {
      const ingest = ingestOf();
      const image = onlyImage(ingest);
      await one.record({ ...ingest, images: [{ image, inherited: [row('etc/x', 3, 2)] }] }, SIGNAL);
      const { version, ranks } = await one.ranks(image.manifest.digest, SIGNAL);
      assert.equal(version, 1);
      assert.deepEqual(plain(ranks), [['etc/x', 3, 2]]);
    });

    it('leaves nothing behind of an ingest that fails', async () => {
      const layers = [layerRecord()];
      const good = imageRecord(layers);
      // Its layer is neither known nor among those given: refused after the good image has been written.
      const bad = imageRecord([layerRecord()]);
      const images = [good, bad].map((image) => ({ image, inherited: [row('a', 1, 1)] }));
      const index = { digest: newDigest(), mediaType: 'application/json', bytes: randomBytes(20) };
      const ingest = ingestOf({ layers, images, index, tag: 'v1' });
      await assert.rejects(one.record(ingest, SIGNAL));
      assert.equal(await two.image(good.manifest.digest, SIGNAL), undefined);
      assert.equal(await two.image(bad.manifest.digest, SIGNAL), undefined);
      assert.deepEqual(
        await two.layers(
          ingest.repository.registry,
          layers.map(({ digest }) => digest),
          SIGNAL,
        ),
        [],
      );
      assert.deepEqual(await two.ranks(good.manifest.digest, SIGNAL), { version: 0, ranks: [] });
      const question = { repository: ingest.repository, platform: PLATFORM, except: newDigest() };
      assert.equal(await two.predecessor(question, SIGNAL), undefined);
      // And the same repository can be ingested afterwards, with layers of which nothing was left.
      const anew = layers.map((layer) => ({ ...layer, toc: { bytes: randomBytes(8), sizeBytes: 20 } }));
      const repaired = { ...ingest, layers: anew, images: [{ image: good, inherited: [] }] };
      assert.deepEqual(await one.record(repaired, SIGNAL), [good.manifest.digest]);
      const held = await two.layers(
        ingest.repository.registry,
        anew.map(({ digest }) => digest),
        SIGNAL,
      );
      const byDigest = new Map(held.map((layer) => [layer.digest, layer]));
      for (const layer of anew) assert.deepEqual(asBuffers(byDigest.get(layer.digest)), asBuffers(layer));
    });

    it('leaves nothing behind when the signal is aborted', async () => {
      const ingest = ingestOf();
      await assert.rejects(one.record(ingest, AbortSignal.abort()), { name: 'AbortError' });
      assert.equal(await one.image(onlyImage(ingest).manifest.digest, SIGNAL), undefined);
    });

    it('is written by ten ingests of the same at once, on two replicas', async () => {
      const ingest = ingestOf({ tag: 'v1' });
      const { digest } = onlyImage(ingest).manifest;
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, n) => (n % 2 === 0 ? one : two).record(ingest, SIGNAL)),
      );
      assert.deepEqual(answers.flat(), [digest], 'new to exactly one of them');
    });

    it('is written by ingests at once that share layers in opposite orders', async () => {
      const layers = Array.from({ length: 6 }, layerRecord);
      const stacks = Array.from({ length: 8 }, (_, n) => (n % 2 === 0 ? layers : [...layers].reverse()));
      const images = stacks.map((stack) => imageRecord(stack));
      await Promise.all(
        images.map((image, n) =>
          (n % 2 === 0 ? one : two).record(
            ingestOf({ layers: stacks[n] ?? [], images: [{ image, inherited: [] }] }),
            SIGNAL,
          ),
        ),
      );
      for (const image of images) {
        assert.deepEqual((await one.image(image.manifest.digest, SIGNAL))?.layers, image.layers);
      }
    });

    it('adds up ranks that are reported at once, losing none', async () => {
      const ingest = ingestOf();
      const { digest } = onlyImage(ingest).manifest;
      await one.record(ingest, SIGNAL);
      await Promise.all(
        Array.from({ length: 12 }, (_, n) =>
          (n % 2 === 0 ? one : two).addRanks(
            ingest.repository,
            digest,
            [row('both', n, 1), row(`only-${n}`, 1, 1)],
            SIGNAL,
          ),
        ),
      );
      const { version, ranks } = await one.ranks(digest, SIGNAL);
      assert.equal(version, 12);
      assert.equal(ranks.length, 13);
      assert.deepEqual(
        plain(ranks).find(([path]) => path === 'both'),
        ['both', 66, 12],
      );
    });

    it('refuses more ranks than MAX_RANKS and keeps what there was', async () => {
      const ingest = ingestOf();
      const { digest } = onlyImage(ingest).manifest;
      await one.record(ingest, SIGNAL);
      await one.addRanks(ingest.repository, digest, [row('a', 0, 1)], SIGNAL);
      const many = Array.from({ length: MAX_RANKS }, (_, n) => row(`f${n}`, n, 1));
      await assert.rejects(
        one.addRanks(ingest.repository, digest, many, SIGNAL),
        (error) => error instanceof DirectoryError && error.fault.kind === 'too-many-ranks',
      );
      assert.deepEqual(plain((await one.ranks(digest, SIGNAL)).ranks), [['a', 0, 1]]);
    });

    it('finds the version that a new one follows', async () => {
      const where = repository();
      const put = async (tag: string | undefined, platform = PLATFORM) => {
        const layers = [layerRecord()];
        const image = imageRecord(layers, platform);
        const images = [{ image, inherited: [] }];
        const named = tag === undefined ? {} : { tag };
        await one.record({ repository: where, layers, images, known: [], ...named }, SIGNAL);
        return image.manifest.digest;
      };
      const question = (tag: string | undefined, except: Digest, platform = PLATFORM) =>
        one.predecessor(
          { repository: where, platform, except, ...(tag === undefined ? {} : { tag }) },
          SIGNAL,
        );
      assert.equal(await question('v1', newDigest()), undefined);
      const v1 = await put('v1');
      const v2 = await put('v2');
      await put('v3', 'linux/arm64');
      assert.equal(await question('v3', newDigest()), v2, 'the last of that platform');
      assert.equal(await question('v1', newDigest()), v1, 'what the tag named');
      assert.equal(await question('v1', v1), v2, 'never the image itself');
      assert.equal(await question(undefined, v2), v1);
      assert.equal(await question('v1', newDigest(), 'linux/s390x'), undefined);
      const moved = await put('v1');
      assert.equal(await question('v1', newDigest()), moved, 'the tag has moved');
      const traced = () =>
        one.predecessor({ repository: where, platform: PLATFORM, except: moved, traced: true }, SIGNAL);
      assert.equal(await traced(), undefined, 'nothing was traced');
      await one.addRanks(where, v1, [row('a', 0, 1)], SIGNAL);
      assert.equal(await traced(), v1, 'the only one that was traced');
    });

    it('counts the groups of images that are asked for together', async () => {
      const layers = [layerRecord()];
      const images = [1, 2, 3].map(() => ({ image: imageRecord(layers), inherited: [] }));
      await one.record(ingestOf({ layers, images }), SIGNAL);
      const [a, b, c] = images.map(({ image }) => image.manifest.digest);
      assert.ok(a !== undefined && b !== undefined && c !== undefined);
      await one.noteGroup([a, b], SIGNAL);
      await two.noteGroup([b, a, a], SIGNAL);
      await one.noteGroup([a, b, c], SIGNAL);
      await one.noteGroup([a], SIGNAL);
      await one.noteGroup([a, newDigest()], SIGNAL);
      assert.deepEqual(await one.groups(a, SIGNAL), [
        { requests: 2, manifests: [a, b].sort() },
        { requests: 1, manifests: [a, b, c].sort() },
      ]);
      assert.equal((await one.groups(c, SIGNAL)).length, 1);
    });

    it('answers a ping', async () => {
      await one.ping(SIGNAL);
    });

    it('does nothing once the signal is aborted', async () => {
      const { digest } = onlyImage(ingestOf()).manifest;
      await assert.rejects(one.image(digest, AbortSignal.abort()), { name: 'AbortError' });
    });
  });
}

/** Byte arrays of either kind as Buffers, so that they compare. */
function asBuffers(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(asBuffers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, asBuffers(field)]));
}
