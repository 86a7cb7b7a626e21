/**
 * What it costs to answer a delta request for an image of 84,000 files, part by part, in this process.
 * Usage: npm run -s bench:directory [-- --runs N]
 */
import { parseArgs } from 'node:util';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { contentWords, type HeldImage, type WantedImage } from '../extensions/starlight/optimizer/image.ts';
import { planDelta } from '../extensions/starlight/optimizer/plan-delta.ts';
import { decodeShown, encodeShown, shownContents } from '../extensions/starlight/optimizer/shown.ts';
import { type BundleHeader, type BundleToc, PAYLOAD_ENCODING } from '../schemas/bundle/header.ts';
import { encodeBundleHeader } from '../schemas/bundle/header-codec.ts';
import { packToc, packTocAgainst, unpackToc } from '../schemas/bundle/toc-packing.ts';
import { digestOf } from '../schemas/oci/digest.ts';
import { DIGEST_WORDS } from '../schemas/toc/digest-index.ts';
import {
  decodeImageContents,
  decodeImageDigests,
  decodeImageToc,
  encodeImageToc,
} from '../schemas/toc/image-toc.ts';
import type { LayerToc } from '../schemas/toc/layer-toc.ts';
import { mergeLayers } from '../schemas/toc/merge.ts';
import { NONE } from '../schemas/toc/tree.ts';
import { deltaJson, estargzJson, mergeJson } from './estargz-reference.ts';
import { measure, type Row, table } from './measure.ts';
import { syntheticImage } from './synthetic-image.ts';

const { values } = parseArgs({ options: { runs: { type: 'string', default: '9' } } });
const runs = Math.max(1, Number.parseInt(values.runs, 10) || 1);
const rows: Row[] = [];

async function timed<T>(what: string, run: () => T | Promise<T>, bytes?: (result: T) => number): Promise<T> {
  const { result, ...times } = await measure(runs, run);
  rows.push({ what, ...times, ...(bytes === undefined ? {} : { bytes: bytes(result) }) });
  return result;
}

/** The header of a bundle of one image; names and documents as short as they are in practice. */
function header(
  layers: readonly Pick<LayerToc, 'diffId'>[],
  toc: BundleToc,
  plan: ReturnType<typeof planDelta>,
): BundleHeader {
  const manifestDigest = digestOf('manifest');
  const described = layers.map(({ diffId }) => ({ digest: diffId, size: 1_000_000, diffId }));
  const image = { name: 'made/up', reference: 'made/up:2', manifestDigest, platform: 'linux/amd64' };
  return {
    images: [{ ...image, tocDigest: toc.tocDigest, tocBound: true, layers: described }],
    from: [],
    unknownFrom: [],
    blobs: [{ digest: manifestDigest, mediaType: 'application/json', bytes: Buffer.from('{}') }],
    tocs: [toc],
    files: plan.files,
    payloads: {
      encoding: new Uint8Array(plan.payloads.length.length).fill(PAYLOAD_ENCODING.gzipMember),
      length: plan.payloads.length,
      dictionary: new Uint8Array(0),
    },
  };
}

const old = syntheticImage(1);
const made = syntheticImage(2);
const oldTable = encodeImageToc(old);
const oldPacked = packToc(oldTable);
const newPacked = packToc(encodeImageToc(made));
const oldShown = shownOf(old);
const newShown = shownOf(made);
const newTree = mergeLayers(made);
const ranks = Array.from({ length: 1000 }, (_, rank) => {
  const path = made[1]?.pathAt(rank * 40) ?? new Uint8Array(0);
  return { content: newTree.content[newTree.resolve(path)] ?? NONE, rankSum: rank, hits: 1 };
});

/** As ingest leaves it in the database, compressed. */
function shownOf(layers: readonly LayerToc[]): Uint8Array {
  return zstdCompressSync(encodeShown(shownContents(layers, mergeLayers(layers), ['app'])));
}

function decodeHeld(tocBytes: Uint8Array, shown: Uint8Array): HeldImage {
  const words = contentWords(decodeImageDigests(tocBytes));
  return { words, shown: decodeShown(zstdDecompressSync(shown), words.length / DIGEST_WORDS).content };
}

function decodeWanted(tocBytes: Uint8Array, shown: Uint8Array): WantedImage {
  const layers = decodeImageContents(tocBytes);
  const contentCount = layers.reduce((sum, { contents }) => sum + contents.sizeBytes.length, 0);
  const start = new Uint32Array(0);
  return { layers, shown: decodeShown(zstdDecompressSync(shown), contentCount), start, ranks };
}

/** From what a database keeps of old and new image to frame and header. */
async function coldAnswer(): Promise<Uint8Array> {
  const oldBytes = zstdDecompressSync(oldPacked.bytes);
  const newBytes = zstdDecompressSync(newPacked.bytes);
  const packing = packTocAgainst(newBytes, newPacked.tocDigest, oldBytes, oldPacked.tocDigest);
  const plan = planDelta([decodeWanted(newBytes, newShown)], [decodeHeld(oldBytes, oldShown)]);
  return encodeBundleHeader(header(made, await packing, plan));
}

await timed(
  '**update, all of it, from the compressed tables of both images**',
  coldAnswer,
  (bytes) => bytes.length,
);

const newTable = await timed(
  'table: encode',
  () => encodeImageToc(made),
  (bytes) => bytes.length,
);
const tocDigest = digestOf(newTable);
await timed(
  'table: compress',
  () => packToc(newTable),
  ({ bytes }) => bytes.length,
);
const against = await timed(
  'table: compress against the old one',
  () => packTocAgainst(newTable, tocDigest, oldTable, oldPacked.tocDigest),
  ({ bytes }) => bytes.length,
);
await timed('table: decompress, check the digest', () => unpackToc(newPacked, () => undefined));
await timed('table: decompress against the old one, check', () => unpackToc(against, () => oldTable));
const layers = await timed('table: decode', () => decodeImageToc(newTable));
const tree = await timed('merge three layers (at ingest)', () => mergeLayers(layers));
await timed(
  'shown contents: make, encode, compress (at ingest)',
  () => zstdCompressSync(encodeShown(shownContents(layers, tree, ['app']))),
  (bytes) => bytes.length,
);
const wanted = await timed('decode what is wanted: contents, shown', () => decodeWanted(newTable, newShown));
const held = await timed('decode what is held: digests, shown', () => decodeHeld(oldTable, oldShown));
const fresh = await timed('plan: fresh (difference, consolidate, order, select)', () =>
  planDelta([wanted], []),
);
const update = await timed('plan: update', () => planDelta([wanted], [held]));
await timed(
  'header: fresh',
  () => encodeBundleHeader(header(layers, newPacked, fresh)),
  (bytes) => bytes.length,
);
await timed(
  'header: update',
  () => encodeBundleHeader(header(layers, newPacked, update)),
  (bytes) => bytes.length,
);
await timed(
  'header: update, table against the old one',
  () => encodeBundleHeader(header(layers, against, update)),
  (bytes) => bytes.length,
);

const oldJson = estargzJson(old);
const newJson = estargzJson(made);
rows.push({
  what: 'reference: eStargz tables, JSON',
  bytes: newJson.reduce((sum, one) => sum + one.length, 0),
});
const reference = await measure(Math.min(runs, 3), () => deltaJson(mergeJson(newJson), mergeJson(oldJson)));
rows.push({
  what: '**reference: the same update with JSON tables, Maps and a sort**',
  firstMs: reference.firstMs,
  medianMs: reference.medianMs,
  clockMs: reference.clockMs,
  bytes: Buffer.byteLength(reference.result),
});

const fileCount = made.reduce((sum, layer) => sum + layer.contentCount, 0);
console.log(`${fileCount} files, ${update.files.content.length} of them new or changed; ${runs} runs\n`);
console.log(table(rows));
const [all] = rows;
const ratio = reference.medianMs / (all?.medianMs ?? 1);
console.log(`\nThe reference takes ${ratio.toFixed(1)} times as long.`);
