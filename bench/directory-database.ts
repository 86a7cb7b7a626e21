/**
 * What a delta request for an image of 84,000 files costs from the database, cold (nothing unpacked or planned
 * is at hand, only the connection), and what it costs to ingest such an image from its layers.
 * Usage: npm run -s bench:directory-database [-- --runs N] [-- --postgres URL] [-- --no-ingest]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DeltaService } from '../extensions/starlight/delta.ts';
import type { Directory, ImageRecord } from '../extensions/starlight/directory.ts';
import { ImageStore } from '../extensions/starlight/image-store.ts';
import { Ingester } from '../extensions/starlight/ingest.ts';
import { encodeShown, shownContents } from '../extensions/starlight/optimizer/shown.ts';
import { pack } from '../extensions/starlight/packed.ts';
import { questionFromQuery } from '../extensions/starlight/question.ts';
import type { RegistryManifest, RegistryReader } from '../extensions/starlight/registry-reader.ts';
import { scanLayer } from '../schemas/layer/scan-layer.ts';
import { writeSeekableLayer } from '../schemas/layer/seekable-layer.ts';
import { ANNOTATION } from '../schemas/oci/annotations.ts';
import { type Digest, digestOf } from '../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../schemas/oci/media-types.ts';
import { encodeImageToc } from '../schemas/toc/image-toc.ts';
import { encodeLayerToc } from '../schemas/toc/layer-codec.ts';
import type { LayerToc } from '../schemas/toc/layer-toc.ts';
import { mergeLayers } from '../schemas/toc/merge.ts';
import { NONE } from '../schemas/toc/tree.ts';
import { MemoryBundleCache } from '../server/cache/memory-cache.ts';
import { type DirectoryOptions, openDirectory } from '../server/directory/open.ts';
import { directory as dir, file, tarBytes } from '../test/support/tar.ts';
import { measure, type Row, table } from './measure.ts';
import { FILES, syntheticImage } from './synthetic-image.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '7' },
    postgres: { type: 'string' },
    'no-ingest': { type: 'boolean', default: false },
  },
});
const runs = Math.max(1, Number.parseInt(values.runs, 10) || 1);
const SIGNAL = new AbortController().signal;
const NAME = 'made/up';
const rows: Row[] = [];

/** Answers manifests and blobs from memory, at once: what is measured is the proxy's own part. */
class MemoryReader implements RegistryReader {
  readonly manifests = new Map<string, RegistryManifest>();
  readonly blobs = new Map<Digest, Buffer>();

  async manifest(_: string, reference: string) {
    return this.manifests.get(reference);
  }

  async blob(_: string, digest: Digest) {
    const blob = this.blobs.get(digest);
    return blob === undefined ? undefined : { sizeBytes: blob.length, bytes: inChunks(blob) };
  }

  async referrers() {
    return [];
  }
}

async function* inChunks(blob: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < blob.length; at += 65_536) yield blob.subarray(at, at + 65_536);
}

function document(mediaType: string, value: unknown): RegistryManifest {
  const bytes = Buffer.from(JSON.stringify(value));
  return { mediaType, bytes, digest: digestOf(bytes) };
}

async function record(tag: string, layers: readonly LayerToc[], reader: MemoryReader): Promise<ImageRecord> {
  const toc = encodeImageToc(layers);
  const manifest = document(MEDIA_TYPE.ociManifest, { schemaVersion: 2, tag });
  reader.manifests.set(tag, manifest).set(manifest.digest, manifest);
  return {
    manifest,
    config: document(MEDIA_TYPE.ociConfig, { os: 'linux', config: { Cmd: ['app'] }, tag }),
    platform: 'linux/amd64',
    tocDigest: digestOf(toc),
    tocBound: true,
    toc: await pack(toc),
    shown: await pack(encodeShown(shownContents(layers, mergeLayers(layers), ['app']))),
    layers: layers.map(({ diffId }) => ({ digest: diffId, diffId, sizeBytes: 100_000_000 })),
  };
}

async function timed<T>(what: string, count: number, run: () => Promise<T>, bytes?: (result: T) => number) {
  const { result, ...times } = await measure(count - 1, run);
  rows.push({ what, ...times, ...(bytes === undefined ? {} : { bytes: bytes(result) }) });
}

async function measureDeltas(what: string, directory: Directory): Promise<void> {
  const reader = new MemoryReader();
  const versions = [syntheticImage(1), syntheticImage(2)];
  const records = await Promise.all(versions.map((layers, n) => record(`v${n + 1}`, layers, reader)));
  const repository = { registry: '', name: NAME };
  for (const [n, image] of records.entries()) {
    const layers = await Promise.all(
      (versions[n] ?? []).map(async (toc) => ({
        digest: toc.diffId,
        diffId: toc.diffId,
        sizeBytes: 100_000_000,
        toc: await pack(encodeLayerToc(toc)),
      })),
    );
    const write = () =>
      directory.record(
        { repository, tag: `v${n + 1}`, layers, images: [{ image, inherited: [] }], known: [] },
        SIGNAL,
      );
    if (n === 1) await timed(`${what}: write an image`, 1, write);
    else await write();
  }
  const tree = mergeLayers(versions[1] ?? []);
  const ranks = Array.from({ length: 1000 }, (_, rank) => {
    const path = versions[1]?.[1]?.pathAt(rank * 40) ?? new Uint8Array(0);
    const content = tree.content[tree.resolve(path)] ?? NONE;
    return { path, content, rankSum: rank, hits: 1 };
  });
  const [old, made] = records.map(({ manifest }) => manifest.digest);
  if (made === undefined) throw new Error('no image was made');
  await directory.addRanks(repository, made, ranks, SIGNAL);

  const answer = async (query: string) => {
    const images = new ImageStore(directory, 1 << 28);
    const ingester = new Ingester({ directory, images });
    const cache = new MemoryBundleCache({ maxBytes: 0, maxValueBytes: 0, ttlMs: 1 });
    const delta = new DeltaService({ directory, images, ingester, cache, onError: console.error });
    const repositoryOf = (name: string) => ({ registry: '', name, reader });
    const caller = { repositoryOf, auth: undefined };
    const found = await delta.answer(
      questionFromQuery(new URLSearchParams(query)),
      caller,
      undefined,
      SIGNAL,
    );
    return (await found.bytesFrom(0, SIGNAL).next()).value?.length ?? 0;
  };
  const bytes = (length: number) => length;
  await timed(`${what}: load an image`, runs, async () => {
    const image = await new ImageStore(directory, 0).image(made, SIGNAL);
    return image?.shown;
  });
  await timed(`**${what}: fresh, from question to header**`, runs, () => answer(`to=${NAME}:v2`), bytes);
  const update = `to=${NAME}:v2&from=${NAME}@${old}`;
  await timed(`**${what}: update, from question to header**`, runs, () => answer(update), bytes);
}

/** An image of as many files, small ones, in three layers, as a converter writes it. */
async function measureIngest(directory: Directory): Promise<void> {
  const reader = new MemoryReader();
  const blobs: Buffer[] = [];
  for (let layer = 0; layer < 3; layer++) {
    const entries = Array.from({ length: FILES / 3 }, (_, n) => {
      const path = `l${layer}/d${Math.floor(n / 9)}`;
      const content = `file ${layer} ${n} `.repeat(1 + (n % 60));
      return n % 9 === 0 ? [dir(path), file(`${path}/f${n}`, content)] : [file(`${path}/f${n}`, content)];
    });
    const parts: Buffer[] = [];
    for await (const part of writeSeekableLayer([tarBytes(entries.flat())], SIGNAL)) parts.push(part);
    blobs.push(Buffer.concat(parts));
  }
  const scanned = [];
  for (const blob of blobs) scanned.push(await scanLayer([blob], SIGNAL));
  const config = document(MEDIA_TYPE.ociConfig, {
    os: 'linux',
    architecture: 'amd64',
    rootfs: { type: 'layers', diff_ids: scanned.map(({ diffId }) => diffId) },
  });
  reader.blobs.set(config.digest, Buffer.from(config.bytes));
  for (const blob of blobs) reader.blobs.set(digestOf(blob), blob);
  const manifest = document(MEDIA_TYPE.ociManifest, {
    schemaVersion: 2,
    config: { mediaType: config.mediaType, digest: config.digest, size: config.bytes.length },
    layers: blobs.map((blob) => ({
      mediaType: MEDIA_TYPE.ociLayerGzip,
      digest: digestOf(blob),
      size: blob.length,
    })),
    annotations: { [ANNOTATION.tocDigest]: digestOf(encodeImageToc(scanned.map(({ toc }) => toc))) },
  });
  reader.manifests.set('big', manifest).set(manifest.digest, manifest);
  const ingester = new Ingester({ directory, images: new ImageStore(directory, 1 << 28) });
  const repository = { registry: '', reader, name: NAME, auth: undefined };
  await timed(
    'ingest: three layers read, proven and written',
    1,
    () => ingester.ingest(repository, 'big', SIGNAL),
    () => blobs.reduce((sum, blob) => sum + blob.length, 0),
  );
  await timed('ingest: the same again', runs, () => ingester.ingest(repository, 'big', SIGNAL));
}

const root = await mkdtemp(join(tmpdir(), 'starlight-bench-'));
try {
  const databases: (readonly [string, DirectoryOptions])[] = [
    ['PGlite', { kind: 'pglite', path: join(root, 'directory') }],
  ];
  if (values.postgres !== undefined)
    databases.push(['PostgreSQL', { kind: 'postgres', url: values.postgres }]);
  for (const [what, options] of databases) {
    const directory = await openDirectory(options);
    await measureDeltas(what, directory);
    if (what === 'PGlite' && !values['no-ingest']) await measureIngest(directory);
    await directory.close();
  }
} finally {
  await rm(root, { recursive: true, force: true });
}
console.log(`${FILES} files; ${runs} runs, processor time\n\n${table(rows)}`);
