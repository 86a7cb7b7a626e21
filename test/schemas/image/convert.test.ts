import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { type Conversion, type ConvertOptions, convert } from '../../../schemas/image/convert.ts';
import type { ImageSink } from '../../../schemas/image/image-endpoint.ts';
import { ImageError } from '../../../schemas/image/image-error.ts';
import { LayoutSink } from '../../../schemas/image/layout-sink.ts';
import { LayoutSource } from '../../../schemas/image/layout-source.ts';
import { scanLayer } from '../../../schemas/layer/scan-layer.ts';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import { type Digest, digestHex, digestOf } from '../../../schemas/oci/digest.ts';
import { type LayerCompression, MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { parsePlatform } from '../../../schemas/oci/platform.ts';
import { type Descriptor, parseImageConfig, parseIndex, parseManifest } from '../../../schemas/oci/types.ts';
import { encodeImageToc } from '../../../schemas/toc/image-toc.ts';
import { type ImageSource as ImageToMake, makeLayout } from '../../support/images.ts';
import { directory, file, type TarEntry, tarBytes, whiteout } from '../../support/tar.ts';

const signal = new AbortController().signal;
const BASE: readonly TarEntry[] = [
  directory('etc'),
  file('etc/motd', 'hello\n'),
  file('large', Buffer.alloc(300_000, 'abcdefg')),
];
const TOP: readonly TarEntry[] = [whiteout('etc/motd'), file('app', 'the application')];

function blob(layout: string, digest: Digest): Buffer {
  return readFileSync(join(layout, 'blobs/sha256', digestHex(digest)));
}

/** The layouts of one test: where it reads, where it writes. */
class Bench {
  readonly source: string;
  readonly target: string;
  readonly #scratch: string;

  constructor(scratch: string) {
    this.#scratch = scratch;
    this.source = join(scratch, 'source');
    this.target = join(scratch, 'target');
  }

  static async make(): Promise<Bench> {
    return new Bench(await mkdtemp(join(tmpdir(), 'starlight-test-image-')));
  }

  convert(options: ConvertOptions = {}, sink?: ImageSink, tag = 'v1'): Promise<Conversion> {
    const to = sink ?? new LayoutSink(this.target, tag);
    return convert(new LayoutSource(this.source, tag), to, options, signal);
  }

  /** Replaces the source's root by another document, and its blobs by others, digests recomputed. */
  rewriteRoot(mediaType: string, value: unknown): void {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    writeFileSync(join(this.source, 'blobs/sha256', digestHex(digest)), bytes);
    const entry = { mediaType, digest, size: bytes.length, annotations: { [ANNOTATION.refName]: 'v1' } };
    writeFileSync(join(this.source, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  }

  put(mediaType: string, bytes: Uint8Array): Descriptor {
    const digest = digestOf(bytes);
    writeFileSync(join(this.source, 'blobs/sha256', digestHex(digest)), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#scratch, { recursive: true, force: true });
  }
}

function image(extra: Partial<ImageToMake> = {}): ImageToMake {
  return { tag: 'v1', layers: [BASE, TOP], ...extra };
}

describe('convert()', () => {
  const sources: readonly (readonly [string, LayerCompression, boolean, string])[] = [
    ['OCI, gzip', 'gzip', false, MEDIA_TYPE.ociLayerGzip],
    ['OCI, zstd', 'zstd', false, MEDIA_TYPE.ociLayerGzip],
    ['OCI, uncompressed', 'none', false, MEDIA_TYPE.ociLayerGzip],
    ['Docker, gzip', 'gzip', true, MEDIA_TYPE.dockerLayerGzip],
    ['Docker, zstd', 'zstd', true, MEDIA_TYPE.dockerLayerGzip],
    ['Docker, uncompressed', 'none', true, MEDIA_TYPE.dockerLayerGzip],
  ];
  for (const [name, compression, docker, layerType] of sources) {
    it(`${name}: same config and diffIDs, right sizes, a table of contents that fits`, async () => {
      await using bench = await Bench.make();
      const layers = [BASE, TOP].map((entries) => ({ entries, compression }));
      const [made] = makeLayout(bench.source, [
        image({ layers, docker, annotations: { kept: 'yes' } }),
      ]).images;
      const { root, images } = await bench.convert();
      const manifest = parseManifest(root.bytes);
      assert.deepEqual(manifest.config, made?.config);
      assert.equal(root.mediaType, docker ? MEDIA_TYPE.dockerManifest : MEDIA_TYPE.ociManifest);
      assert.equal(manifest.mediaType, root.mediaType);
      const { diff_ids: diffIds } = parseImageConfig(blob(bench.target, manifest.config.digest)).rootfs;
      const tocs = [];
      for (const [row, layer] of manifest.layers.entries()) {
        const bytes = blob(bench.target, layer.digest);
        const scanned = await scanLayer([bytes], signal);
        assert.equal(scanned.diffId, diffIds[row]);
        assert.equal(layer.mediaType, layerType);
        assert.equal(layer.size, bytes.length);
        tocs.push(scanned.toc);
      }
      const toc = encodeImageToc(tocs);
      assert.deepEqual(manifest.annotations, {
        kept: 'yes',
        [ANNOTATION.tocDigest]: digestOf(toc),
        [ANNOTATION.convertedFrom]: made?.manifest.digest,
      });
      assert.equal(images[0]?.tocDigest, digestOf(toc));
      const [referrer] = await new LayoutSource(bench.target, 'v1').referrers(root.digest, signal);
      assert.ok(referrer);
      const artifact = parseManifest(blob(bench.target, referrer.digest));
      assert.equal(artifact.subject?.digest, root.digest);
      assert.equal(artifact.artifactType, MEDIA_TYPE.starlightToc);
      const [stored] = artifact.layers;
      assert.ok(stored);
      assert.deepEqual(zstdDecompressSync(blob(bench.target, stored.digest)), Buffer.from(toc));
    });
  }

  it('gives the same bytes each time', async () => {
    await using bench = await Bench.make();
    makeLayout(bench.source, [image()]);
    const first = await bench.convert();
    const files = readdirSync(join(bench.target, 'blobs/sha256')).sort();
    await rm(bench.target, { recursive: true });
    const second = await bench.convert();
    assert.equal(second.root.digest, first.root.digest);
    assert.deepEqual(readdirSync(join(bench.target, 'blobs/sha256')).sort(), files);
  });

  it('converts every image of an index, and what they share once', async () => {
    await using bench = await Bench.make();
    makeLayout(bench.source, [
      image({ platform: { os: 'linux', architecture: 'amd64' } }),
      image({ layers: [BASE], platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } }),
    ]);
    const started: Digest[] = [];
    const { root, images } = await bench.convert({
      listener: { layerStarted: (layer) => started.push(layer.digest) },
    });
    assert.equal(started.length, 2);
    assert.equal(images.length, 2);
    const { manifests } = parseIndex(root.bytes);
    assert.deepEqual(
      manifests.map((entry) => [entry.digest, entry.size, entry.platform?.architecture]),
      images.map((one, row) => [one.manifest.digest, one.manifest.bytes.length, ['amd64', 'arm64'][row]]),
    );
  });

  it('takes the platforms asked for, with their attestations, and copies those as they are', async () => {
    await using bench = await Bench.make();
    const { images: made, tags } = makeLayout(bench.source, [
      image({ platform: { os: 'linux', architecture: 'amd64' } }),
      image({ layers: [BASE], platform: { os: 'linux', architecture: 'arm64' } }),
    ]);
    const index = parseIndex(blob(bench.source, tags.get('v1')?.digest as Digest)); // made just above
    const statement = bench.put('application/vnd.in-toto+json', Buffer.from('{}'));
    const config = bench.put(MEDIA_TYPE.ociConfig, Buffer.from('{"rootfs":{"type":"layers","diff_ids":[]}}'));
    const attestations = made.map((one, row) => {
      const body = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers: [statement], row };
      const descriptor = bench.put(MEDIA_TYPE.ociManifest, Buffer.from(JSON.stringify(body)));
      return {
        ...descriptor,
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: { 'vnd.docker.reference.digest': one.manifest.digest },
      };
    });
    bench.rewriteRoot(MEDIA_TYPE.ociIndex, { ...index, manifests: [...index.manifests, ...attestations] });
    const { root, copied } = await bench.convert({ platforms: [parsePlatform('linux/arm64')] });
    const { manifests } = parseIndex(root.bytes);
    assert.deepEqual(
      manifests.map((entry) => entry.platform?.architecture),
      ['arm64', 'unknown'],
    );
    assert.deepEqual(manifests[1], attestations[1]);
    assert.deepEqual(
      copied.map((one) => one.digest),
      [attestations[1]?.digest],
    );
    assert.deepEqual(blob(bench.target, statement.digest), Buffer.from('{}'));
  });

  it('finds the platforms asked for in indexes of indexes, and leaves out those that have none', async () => {
    await using bench = await Bench.make();
    const { images: made } = makeLayout(bench.source, [
      image({ platform: { os: 'linux', architecture: 'amd64' } }),
      image({ layers: [BASE], platform: { os: 'linux', architecture: 'arm64' } }),
    ]);
    const inner = made.map(({ manifest, platform }) => {
      const value = {
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.ociIndex,
        manifests: [{ ...manifest, platform }],
      };
      return bench.put(MEDIA_TYPE.ociIndex, Buffer.from(JSON.stringify(value)));
    });
    bench.rewriteRoot(MEDIA_TYPE.ociIndex, { schemaVersion: 2, manifests: inner });
    const { root, images } = await bench.convert({ platforms: [parsePlatform('linux/arm64')] });
    assert.deepEqual(
      images.map((one) => one.sourceDigest),
      [made[1]?.manifest.digest],
    );
    const [entry, ...others] = parseIndex(root.bytes).manifests;
    assert.deepEqual(others, []);
    assert.ok(entry !== undefined);
    const listed = parseIndex(blob(bench.target, entry.digest)).manifests;
    assert.deepEqual(
      listed.map((one) => one.digest),
      [images[0]?.manifest.digest],
    );
    await assert.rejects(bench.convert({ platforms: [parsePlatform('linux/s390x')] }), {
      kind: 'not-found',
      message: /is not for linux\/s390x: it has linux\/amd64, linux\/arm64$/,
    });
  });

  it('with eStargz: other diffIDs, all else of the config kept', async () => {
    await using bench = await Bench.make();
    const [made] = makeLayout(bench.source, [image()]).images;
    const { root } = await bench.convert({ estargz: true });
    const manifest = parseManifest(root.bytes);
    const before = JSON.parse(blob(bench.source, made?.config.digest as Digest).toString()) as object;
    const after = JSON.parse(blob(bench.target, manifest.config.digest).toString()) as object;
    const scanned = await Promise.all(
      manifest.layers.map((layer) => scanLayer([blob(bench.target, layer.digest)], signal)),
    );
    const rootfs = { type: 'layers', diff_ids: scanned.map((one) => one.diffId) };
    assert.deepEqual(after, { ...before, rootfs });
    for (const [row, layer] of manifest.layers.entries()) {
      assert.deepEqual(layer.annotations, {
        [ANNOTATION.estargzTocDigest]: scanned[row]?.estargz?.tocDigest,
        [ANNOTATION.estargzUncompressedSize]: String(scanned[row]?.tarSizeBytes),
      });
    }
    // An image that is eStargz already is taken as it is.
    const again = await convert(
      new LayoutSource(bench.target, 'v1'),
      new LayoutSink(join(bench.target, '../again'), 'v1'),
      { estargz: true },
      signal,
    );
    assert.equal(again.root.digest, root.digest);
  });

  const layerOf = (bench: Bench, mediaType: string, bytes: Uint8Array, diffId: Digest): void => {
    const layer = bench.put(mediaType, bytes);
    const config = bench.put(
      MEDIA_TYPE.ociConfig,
      Buffer.from(JSON.stringify({ rootfs: { type: 'layers', diff_ids: [diffId] } })),
    );
    bench.rewriteRoot(MEDIA_TYPE.ociManifest, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      config,
      layers: [layer],
    });
  };
  const tar = tarBytes(BASE);
  const bad: readonly (readonly [
    string,
    (bench: Bench, layer: Digest, config: Digest) => void,
    ImageError['kind'],
  ])[] = [
    ['no layout', (bench) => writeFileSync(join(bench.source, 'index.json'), '{}'), 'malformed'],
    [
      'an index that is no JSON',
      (bench) => writeFileSync(join(bench.source, 'index.json'), 'no'),
      'malformed',
    ],
    [
      'a layer that is not there',
      (bench, layer) => rmSync(join(bench.source, 'blobs/sha256', digestHex(layer))),
      'not-found',
    ],
    [
      'a layer with other bytes',
      (bench, layer) => damage(bench.source, layer, (bytes) => bytes.fill(0, 20, 30)),
      'digest-mismatch',
    ],
    [
      'a layer that is cut off',
      (bench, layer) => damage(bench.source, layer, (bytes) => bytes.subarray(0, -20)),
      'digest-mismatch',
    ],
    [
      'a layer that is too long',
      (bench, layer) => damage(bench.source, layer, (bytes) => Buffer.concat([bytes, bytes])),
      'digest-mismatch',
    ],
    [
      'a config with other bytes',
      (bench, _, config) => damage(bench.source, config, (bytes) => bytes.fill(0x20, 3, 4)),
      'digest-mismatch',
    ],
    [
      'garbage for gzip',
      (bench) => layerOf(bench, MEDIA_TYPE.ociLayerGzip, Buffer.alloc(3_000, 'x'), digestOf(tar)),
      'malformed',
    ],
    [
      'garbage for zstd',
      (bench) =>
        layerOf(bench, MEDIA_TYPE.ociLayerZstd, Buffer.from('28b52ffdffffffff', 'hex'), digestOf(tar)),
      'malformed',
    ],
    [
      'a tar cut off',
      (bench) => layerOf(bench, MEDIA_TYPE.ociLayer, tar.subarray(0, 5_000), digestOf(tar)),
      'malformed',
    ],
    [
      'a layer that is not the diffID',
      (bench) => layerOf(bench, MEDIA_TYPE.ociLayer, tar, digestOf('x')),
      'digest-mismatch',
    ],
    [
      'a path that leads out',
      (bench) => {
        const evil = tarBytes([file('../evil', '')]);
        layerOf(bench, MEDIA_TYPE.ociLayer, evil, digestOf(evil));
      },
      'unsupported',
    ],
    [
      'a document of another type',
      (bench) => bench.rewriteRoot('text/plain', { mediaType: 'text/plain' }),
      'unsupported',
    ],
    [
      'a manifest without a config',
      (bench) => bench.rewriteRoot(MEDIA_TYPE.ociManifest, { schemaVersion: 2, layers: [] }),
      'malformed',
    ],
  ];
  for (const [name, spoil, kind] of bad) {
    it(`refuses ${name}, and leaves no image behind`, async () => {
      await using bench = await Bench.make();
      const [made] = makeLayout(bench.source, [image()]).images;
      const layer = made?.layers[0]?.descriptor.digest as Digest; // made just above
      spoil(bench, layer, made?.config.digest as Digest);
      await assert.rejects(bench.convert(), (error) => {
        assert.ok(error instanceof ImageError, String(error));
        assert.equal(error.kind, kind, error.message);
        return true;
      });
      assert.throws(() => readFileSync(join(bench.target, 'index.json')), { code: 'ENOENT' });
    });
  }

  it('refuses a platform that the image does not have', async () => {
    await using bench = await Bench.make();
    makeLayout(bench.source, [image()]);
    const platforms = [parsePlatform('linux/s390x')];
    await assert.rejects(bench.convert({ platforms }), { name: 'ImageError', kind: 'not-found' });
  });

  it('leaves nothing visible when the destination fails in the middle', async () => {
    await using bench = await Bench.make();
    makeLayout(bench.source, [image()]);
    for (const step of ['putBlob', 'putManifest', 'putReferrer'] as const) {
      mkdirSync(bench.target, { recursive: true });
      const real = new LayoutSink(bench.target, 'v1');
      const failing: ImageSink = {
        name: 'failing',
        putBlob: real.putBlob.bind(real),
        putManifest: real.putManifest.bind(real),
        putReferrer: real.putReferrer.bind(real),
        publish: real.publish.bind(real),
        [step]: () => Promise.reject(new Error('disk full')),
      };
      await assert.rejects(bench.convert({}, failing), /disk full/);
      assert.throws(() => readFileSync(join(bench.target, 'index.json')), { code: 'ENOENT' });
    }
  });

  it('stops when it is told to', async () => {
    await using bench = await Bench.make();
    makeLayout(bench.source, [image()]);
    const source = new LayoutSource(bench.source, 'v1');
    const aborted = AbortSignal.abort();
    await assert.rejects(convert(source, new LayoutSink(bench.target, 'v1'), {}, aborted), {
      name: 'AbortError',
    });
  });
});

function damage(layout: string, digest: Digest, change: (bytes: Buffer) => Buffer): void {
  const path = join(layout, 'blobs/sha256', digestHex(digest));
  writeFileSync(path, change(readFileSync(path)));
}
