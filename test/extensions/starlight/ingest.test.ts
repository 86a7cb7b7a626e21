import assert from 'node:assert/strict';
import type { Directory } from '../../../extensions/starlight/directory.ts';
import { ImageStore } from '../../../extensions/starlight/image-store.ts';
import { Ingester } from '../../../extensions/starlight/ingest.ts';
import { RegistryReadError } from '../../../extensions/starlight/registry-reader.ts';
import { StarlightError, type StarlightFault } from '../../../extensions/starlight/starlight-error.ts';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { decodeStartOrder } from '../../../extensions/starlight/optimizer/start-order.ts';
import { madeElf } from '../../support/made-elf.ts';
import { directory as dir, file } from '../../support/tar.ts';
import { FakeRegistry } from './fake-registry.ts';
import { document, type MadeImage, makeImage, makeIndex } from './made-image.ts';
import { sharedDirectory } from './shared-directory.ts';

const SIGNAL = new AbortController().signal;
let names = 0;

function isFault(kind: StarlightFault['kind'], text?: RegExp) {
  return (error: unknown) =>
    error instanceof StarlightError &&
    error.fault.kind === kind &&
    (text === undefined || text.test(error.message));
}

describe('Ingester', function () {
  this.timeout(60_000);
  let database: Directory;
  let registry: FakeRegistry;
  let ingester: Ingester;
  let name: string;
  const ingest = (reference: string, auth?: string) =>
    ingester.ingest({ registry: 'r', reader: registry, name, auth }, reference, SIGNAL);
  /** Layers nobody else has made. */
  const layersOf = (what: string, count = 2) =>
    Array.from({ length: count }, (_, n) => [
      dir('bin'),
      file(`bin/${what}${n}`, `${name} ${what} ${n}`.repeat(100)),
      file('bin/app', `${name} the same in all ${n}`.repeat(50)),
    ]);

  before(async () => {
    database = await sharedDirectory();
  });
  beforeEach(() => {
    registry = new FakeRegistry();
    ingester = new Ingester({ directory: database, images: new ImageStore(database, 1 << 26) });
    name = `ingest/n${names++}`;
  });

  it('takes in an image, once', async () => {
    const image = await makeImage(layersOf('a'));
    registry.push(name, 'v1', image);
    const { digest } = image.manifest;
    const first = await ingest('v1');
    const told = { platform: 'linux/amd64', manifestDigest: digest, tocDigest: image.tocDigest };
    assert.deepEqual(first.images, [{ ...told, status: 'ingested' }]);
    const reads = registry.blobReads().length;
    assert.equal(reads, 4, 'config and two layers, and the command by range');
    assert.deepEqual((await ingest('v1')).images, [{ ...told, status: 'already' }]);
    assert.equal(registry.blobReads().length, reads, 'nothing is read again');
    const record = await database.image(digest, SIGNAL);
    assert.equal(record?.tocBound, true);
    assert.deepEqual(
      record?.layers.map(({ digest: layer }) => layer),
      image.blobs.slice(1).map(({ digest: layer }) => layer),
    );
  });

  it('takes in all platforms of an index, leaving out what is no image', async () => {
    const images = await Promise.all(
      ['amd64', 'arm64'].map(async (architecture) => {
        const image = await makeImage(layersOf(architecture), { architecture });
        return [architecture, image] as const;
      }),
    );
    const plain = await makeImage(layersOf('plain'), { tocDigest: null, architecture: 's390x' });
    const absent = await makeImage(layersOf('absent'), { architecture: 'ppc64le' });
    for (const [, image] of [...images, ['', plain] as const]) registry.push(name, undefined, image);
    registry.pushDocument(
      name,
      'v1',
      makeIndex([...images, ['s390x', plain], ['ppc64le', absent], ['unknown', plain]]),
    );
    const result = await ingest('v1');
    assert.deepEqual(
      result.images.map(({ platform, status }) => [platform, status]),
      [
        ['linux/amd64', 'ingested'],
        ['linux/arm64', 'ingested'],
        ['linux/s390x', 'not-converted'],
      ],
    );
  });

  it('reads a layer that several images share once', async () => {
    const [base = []] = layersOf('base', 1);
    const images = await Promise.all(
      ['amd64', 'arm64'].map(async (architecture) => {
        const image = await makeImage([base, ...layersOf(architecture, 1)], { architecture });
        return [architecture, image] as const;
      }),
    );
    for (const [, image] of images) registry.push(name, undefined, image);
    registry.pushDocument(name, 'v1', makeIndex(images));
    await ingest('v1');
    const shared = images[0]?.[1].blobs[1]?.digest ?? '';
    const whole = registry.blobReads().filter((line) => line.endsWith(`${shared} `));
    assert.equal(whole.length, 1);
  });

  it('is done once for ten at once', async () => {
    const image = await makeImage(layersOf('ten'));
    registry.push(name, 'v1', image);
    const results = await Promise.all(Array.from({ length: 10 }, () => ingest('v1')));
    assert.equal(new Set(results).size, 1);
    assert.equal(registry.blobReads().length, 4);
  });

  it('is safe when two replicas do it at once', async () => {
    const image = await makeImage(layersOf('replicas'));
    registry.push(name, 'v1', image);
    const other = new Ingester({ directory: database, images: new ImageStore(database, 1 << 26) });
    const repository = { registry: 'r', reader: registry, name, auth: undefined };
    const results = await Promise.all([
      ingester.ingest(repository, 'v1', SIGNAL),
      other.ingest(repository, 'v1', SIGNAL),
    ]);
    const statuses = results.map(({ images }) => images[0]?.status).sort();
    assert.deepEqual(statuses, ['already', 'ingested']);
  });

  it('gives a new version the ranks of the one before it', async () => {
    const one = await makeImage(layersOf('v1'));
    const two = await makeImage([...layersOf('v1'), [file('bin/new', 'new')]]);
    registry.push(name, 'latest', one);
    await ingest('latest');
    const key = { registry: 'r', name };
    const rows = ['bin/app', 'bin/gone'].map((path) => ({
      path: Buffer.from(path),
      content: 0,
      rankSum: 4,
      hits: 2,
    }));
    await database.addRanks(key, one.manifest.digest, rows, SIGNAL);
    registry.push(name, 'latest', two);
    await ingest('latest');
    const { ranks } = await database.ranks(two.manifest.digest, SIGNAL);
    assert.deepEqual(
      ranks.map(({ path, rankSum, hits }) => [Buffer.from(path).toString(), rankSum, hits]),
      [['bin/app', 4, 2]],
    );
    await ingest('latest');
    assert.equal(
      (await database.ranks(one.manifest.digest, SIGNAL)).ranks.length,
      2,
      're-notify keeps ranks',
    );
  });

  /** Two layers with a program in one and its library in the other, and what it does not need. */
  const startLayers = () => {
    const program = madeElf({ interpreter: '/lib/ld.so', needed: ['libapp.so'], soname: name });
    return [
      [file('lib/libapp.so', madeElf({ soname: `libapp.so ${name}` })), file('a', `${name} a`)],
      [
        file('lib/libother.so', madeElf({ soname: `other ${name}` })),
        file('bin/app', program, { mode: 0o755 }),
      ],
    ];
  };

  it('notes what an image opens first', async () => {
    const image = await makeImage(startLayers());
    registry.push(name, 'v1', image);
    await ingest('v1');
    const loaded = await new ImageStore(database, 1 << 26).image(image.manifest.digest, SIGNAL);
    assert.ok(loaded !== undefined);
    const { tree, start, shown } = loaded;
    const contents = ['bin/app', 'lib/libapp.so'].map((path) => tree.content[tree.resolve(path)]);
    assert.deepEqual([...start], contents);
    assert.ok(loaded.record.startOrder !== undefined);
    assert.deepEqual(decodeStartOrder(loaded.record.startOrder, shown.content.length), start);
    const reads = registry.blobReads().length;
    await ingest('v1');
    assert.equal(registry.blobReads().length, reads, 'once');
  });

  it('takes in an image all the same when what it opens first cannot be read', async () => {
    const image = await makeImage(startLayers());
    registry.push(name, 'v1', image);
    const told: unknown[] = [];
    const images = new ImageStore(database, 1 << 26);
    const failing = new Ingester({
      directory: database,
      images,
      onStartUnknown: (error) => told.push(error),
    });
    const away = new RegistryReadError({ kind: 'unavailable' }, 'away');
    registry.onBlob = () => {
      if (registry.asked.at(-1)?.endsWith(' ') === false) throw away;
    };
    const repository = { registry: 'r', reader: registry, name, auth: undefined };
    const { images: results } = await failing.ingest(repository, 'v1', SIGNAL);
    assert.equal(results[0]?.status, 'ingested');
    assert.deepEqual(told, [away]);
    const loaded = await images.image(image.manifest.digest, SIGNAL);
    assert.equal(loaded?.record.startOrder, undefined);
    assert.equal(loaded?.start.length, 0);
  });

  it('stops where it is when the last who waits leaves while that is read', async () => {
    registry.push(name, 'v1', await makeImage(startLayers()));
    const leaving = new AbortController();
    registry.onBlob = () => {
      if (registry.asked.at(-1)?.endsWith(' ') === false) leaving.abort(new Error('left'));
    };
    const repository = { registry: 'r', reader: registry, name, auth: undefined };
    await assert.rejects(ingester.ingest(repository, 'v1', leaving.signal), /left/);
  });

  it('believes no registry of what another has shown', async () => {
    const image = await makeImage(layersOf('secret'));
    registry.push(name, 'v1', image);
    await ingest('v1');
    const liar = new FakeRegistry();
    const [config, ...layers] = image.blobs;
    assert.ok(config !== undefined);
    liar.push(name, 'v1', image);
    const { blobs } = liar.repository(name);
    const there = { registry: 'elsewhere', reader: liar, name, auth: undefined };
    // It knows the manifest, then the config as well, and of layers what they are called and how large they are.
    for (const { digest, bytes } of layers) blobs.set(digest, Buffer.alloc(bytes.length, 1));
    for (const bytes of [Buffer.alloc(config.bytes.length, 1), config.bytes]) {
      blobs.set(config.digest, bytes);
      await assert.rejects(ingester.ingest(there, 'v1', SIGNAL), isFault('image-refused'));
      assert.equal(await database.holds(there, image.manifest.digest, SIGNAL), false);
    }
    // Another image of the same layers, which they are told of by their digests.
    const other = await makeImage(layersOf('secret'), { architecture: 'arm64' });
    liar.pushDocument(name, 'v2', other.manifest);
    const [otherConfig] = other.blobs;
    blobs.set(otherConfig?.digest ?? '', otherConfig?.bytes ?? Buffer.alloc(0));
    await assert.rejects(ingester.ingest(there, 'v2', SIGNAL), isFault('image-refused'));
    // Whoever has it is believed.
    liar.push(name, 'v1', image);
    const { images: results } = await ingester.ingest(there, 'v1', SIGNAL);
    assert.deepEqual(
      results.map(({ status }) => status),
      ['already'],
    );
    assert.equal(await database.holds(there, image.manifest.digest, SIGNAL), true);
  });

  it('checks that the caller may read a layer that is known from elsewhere', async () => {
    const image = await makeImage(layersOf('secret'));
    registry.push(name, 'v1', image);
    await ingest('v1');
    // The manifest alone, in a repository that does not have the layers, under another digest.
    const thief = await makeImage(layersOf('secret'), { architecture: 'arm64' });
    name = `ingest/n${names++}`;
    registry.pushDocument(name, 'v1', thief.manifest);
    const [config] = thief.blobs;
    assert.ok(config !== undefined);
    registry.repository(name).blobs.set(config.digest, config.bytes);
    await assert.rejects(ingest('v1'), isFault('image-refused', /not in the repository/));
  });

  const REFUSED: readonly (readonly [
    what: string,
    kind: StarlightFault['kind'],
    text: RegExp,
    make: () => Promise<MadeImage>,
  ])[] = [
    [
      'names another table of contents',
      'image-refused',
      /table of contents disagrees with the layers/,
      () => makeImage(layersOf('toc'), { tocDigest: digestOf('another') }),
    ],
    [
      'names diffIDs that are not those of its layers',
      'image-refused',
      /unpacks to/,
      () => makeImage(layersOf('diff'), { diffIds: [digestOf('a'), digestOf('b')] }),
    ],
    [
      'names fewer diffIDs than layers',
      'image-refused',
      /names 1 layers, its manifest 2/,
      () => makeImage(layersOf('few'), { diffIds: [digestOf('a')] }),
    ],
    [
      'calls itself eStargz and is not',
      'image-refused',
      /table of contents disagrees/,
      () =>
        makeImage(layersOf('estargz'), {
          tocDigest: null,
          layerAnnotations: { [ANNOTATION.estargzTocDigest]: digestOf('x') },
        }),
    ],
    [
      'lacks a layer',
      'image-refused',
      /is not in the repository/,
      async () => {
        const image = await makeImage(layersOf('lacks'));
        return { ...image, blobs: image.blobs.slice(0, 2) };
      },
    ],
    [
      'lacks its config',
      'image-refused',
      /config .* is not in the repository/,
      async () => {
        const image = await makeImage(layersOf('config'));
        return { ...image, blobs: image.blobs.slice(1) };
      },
    ],
    [
      'has a damaged layer',
      'image-refused',
      /layer sha256:/,
      async () => {
        const image = await makeImage(layersOf('damaged'));
        const blobs = image.blobs.map((blob, n) =>
          n === 2 ? { ...blob, bytes: Buffer.from(blob.bytes).fill(0x55, 40, 60) } : blob,
        );
        return { ...image, blobs };
      },
    ],
    [
      'has a layer cut short',
      'image-refused',
      /layer sha256:/,
      async () => {
        const image = await makeImage(layersOf('short'));
        const blobs = image.blobs.map((blob, n) =>
          n === 2 ? { ...blob, bytes: blob.bytes.subarray(0, -30) } : blob,
        );
        return { ...image, blobs };
      },
    ],
    [
      'has another config',
      'image-refused',
      /not the one of digest|larger than/,
      async () => {
        const image = await makeImage(layersOf('other'));
        const blobs = image.blobs.map((blob, n) => (n === 0 ? { ...blob, bytes: Buffer.from('{}') } : blob));
        return { ...image, blobs };
      },
    ],
    ['is ordinary', 'not-converted', /neither/, () => makeImage(layersOf('plain'), { tocDigest: null })],
    [
      'is no JSON',
      'image-refused',
      /not JSON/,
      async () => ({
        ...(await makeImage(layersOf('json'))),
        manifest: document(MEDIA_TYPE.ociManifest, Buffer.from('nonsense')),
      }),
    ],
    [
      'is something else',
      'not-converted',
      /of type text\/plain/,
      async () => ({ ...(await makeImage(layersOf('text'))), manifest: document('text/plain', 'x') }),
    ],
  ];
  for (const [what, kind, text, make] of REFUSED) {
    it(`refuses an image that ${what}, and leaves nothing behind`, async () => {
      const good = await makeImage(layersOf('good'), { architecture: 'arm64' });
      const bad = await make();
      registry.push(name, 'v1', bad);
      await assert.rejects(ingest('v1'), isFault(kind, text));
      assert.equal(await database.image(bad.manifest.digest, SIGNAL), undefined);
      const layers = bad.blobs.slice(1).map(({ digest }) => digest);
      assert.deepEqual(await database.layers('r', layers, SIGNAL), []);
      if (kind !== 'image-refused') return;
      // Nor does a good image beside it get in by halves.
      registry.push(name, undefined, good);
      registry.pushDocument(
        name,
        'both',
        makeIndex([
          ['arm64', good],
          ['amd64', bad],
        ]),
      );
      await assert.rejects(ingest('both'), isFault(kind, text));
      assert.equal(await database.image(good.manifest.digest, SIGNAL), undefined);
    });
  }

  it('can be done again after a failure', async () => {
    const image = await makeImage(layersOf('again'));
    registry.push(name, 'v1', image);
    let left = 1;
    registry.onBlob = () => {
      if (left-- > 0) throw new RegistryReadError({ kind: 'unavailable' }, 'away');
    };
    await assert.rejects(ingest('v1'), RegistryReadError);
    assert.equal((await ingest('v1')).images[0]?.status, 'ingested');
  });

  it('knows nothing of what the caller may not see', async () => {
    registry.push(name, 'v1', await makeImage(layersOf('private')));
    registry.repository(name).owner = 'Bearer owner';
    await assert.rejects(
      ingest('v1'),
      (error) => error instanceof RegistryReadError && error.fault.kind === 'unauthorized',
    );
    await assert.rejects(
      ingest('v1', 'Bearer other'),
      (error) => error instanceof RegistryReadError && error.fault.kind === 'denied',
    );
    await assert.rejects(ingest('v2', 'Bearer owner'), isFault('manifest-unknown'));
    assert.equal((await ingest('v1', 'Bearer owner')).images[0]?.status, 'ingested');
  });

  it('stops when the last who waits leaves, and when it is closed', async () => {
    registry.push(name, 'v1', await makeImage(layersOf('stops')));
    const leaving = new AbortController();
    registry.onBlob = () => leaving.abort(new Error('left'));
    const repository = { registry: 'r', reader: registry, name, auth: undefined };
    await assert.rejects(ingester.ingest(repository, 'v1', leaving.signal), /left/);
    registry.onBlob = () => ingester.close();
    await assert.rejects(ingest('v1'), isFault('unavailable'));
  });
});
