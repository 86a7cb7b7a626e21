/**
 * What it costs to answer a delta request for an image of 84,000 files, part by part, in this process.
 * Usage: npm run -s bench:directory [-- --runs N]
 */
import { parseArgs } from 'node:util';
import { zstdDecompressSync } from 'node:zlib';
import { planDelta } from '../extensions/starlight/optimizer/plan-delta.ts';
import { type BundleHeader, type BundleToc, PAYLOAD_ENCODING } from '../schemas/bundle/header.ts';
import { encodeBundleHeader } from '../schemas/bundle/header-codec.ts';
import { packToc, packTocAgainst, unpackToc } from '../schemas/bundle/toc-packing.ts';
import { digestOf } from '../schemas/oci/digest.ts';
import { decodeImageToc, encodeImageToc } from '../schemas/toc/image-toc.ts';
import type { LayerToc } from '../schemas/toc/layer-toc.ts';
import { mergeContents, mergeLayers } from '../schemas/toc/merge.ts';
import { deltaJson, estargzJson, mergeJson } from './estargz-reference.ts';
import { measure, type Row, table } from './measure.ts';
import { syntheticImage } from './synthetic-image.ts';

const { values } = parseArgs({ options: { runs: { type: 'string', default: '9' } } });
const runs = Math.max(1, Number.parseInt(values.runs, 10) || 1);
const rows: Row[] = [];

function timed<T>(what: string, run: () => T, bytes?: (result: T) => number): T {
  const { result, ...times } = measure(runs, run);
  rows.push({ what, ...times, ...(bytes === undefined ? {} : { bytes: bytes(result) }) });
  return result;
}

/** The header of a bundle of one image; names and documents as short as they are in practice. */
function header(
  layers: readonly LayerToc[],
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
const ranks = Array.from({ length: 1000 }, (_, rank) => ({
  path: made[1]?.pathAt(rank * 40) ?? new Uint8Array(0),
  rankSum: rank,
  hits: 1,
}));

/** From the compressed tables of old and new image, as a database keeps them, to frame and header. */
function coldAnswer(): Uint8Array {
  const oldBytes = zstdDecompressSync(oldPacked.bytes);
  const newBytes = zstdDecompressSync(newPacked.bytes);
  const layers = decodeImageToc(newBytes);
  const wanted = { layers, tree: mergeLayers(layers), ranks, command: ['app'] };
  const plan = planDelta([wanted], [mergeContents(decodeImageToc(oldBytes))]);
  const toc = packTocAgainst(newBytes, newPacked.tocDigest, oldBytes, oldPacked.tocDigest);
  return encodeBundleHeader(header(layers, toc, plan));
}

timed(
  '**update, all of it, from the compressed tables of both images**',
  coldAnswer,
  (bytes) => bytes.length,
);

const newTable = timed(
  'table: encode',
  () => encodeImageToc(made),
  (bytes) => bytes.length,
);
const tocDigest = digestOf(newTable);
timed(
  'table: compress',
  () => packToc(newTable),
  ({ bytes }) => bytes.length,
);
const against = timed(
  'table: compress against the old one',
  () => packTocAgainst(newTable, tocDigest, oldTable, oldPacked.tocDigest),
  ({ bytes }) => bytes.length,
);
timed('table: decompress, check the digest', () => unpackToc(newPacked, () => undefined));
timed('table: decompress against the old one, check', () => unpackToc(against, () => oldTable));
const layers = timed('table: decode', () => decodeImageToc(newTable));
const tree = timed('merge three layers', () => mergeLayers(layers));
const oldContents = timed('merge, contents only (the old image)', () => mergeContents(old));
const wanted = { layers, tree, ranks, command: ['app'] };
const fresh = timed('plan: fresh (difference, consolidate, order, select)', () => planDelta([wanted], []));
const update = timed('plan: update', () => planDelta([wanted], [oldContents]));
timed(
  'header: fresh',
  () => encodeBundleHeader(header(layers, newPacked, fresh)),
  (bytes) => bytes.length,
);
timed(
  'header: update',
  () => encodeBundleHeader(header(layers, newPacked, update)),
  (bytes) => bytes.length,
);
timed(
  'header: update, table against the old one',
  () => encodeBundleHeader(header(layers, against, update)),
  (bytes) => bytes.length,
);

// To come: ingest into the directory database, and the answer from a cold database (server/directory).

const oldJson = estargzJson(old);
const newJson = estargzJson(made);
rows.push({
  what: 'reference: eStargz tables, JSON',
  bytes: newJson.reduce((sum, one) => sum + one.length, 0),
});
const reference = measure(Math.min(runs, 3), () => deltaJson(mergeJson(newJson), mergeJson(oldJson)));
rows.push({
  what: '**reference: the same update with JSON tables, Maps and a sort**',
  firstMs: reference.firstMs,
  medianMs: reference.medianMs,
  bytes: Buffer.byteLength(reference.result),
});

const fileCount = made.reduce((sum, layer) => sum + layer.contentCount, 0);
console.log(`${fileCount} files, ${update.files.content.length} of them new or changed; ${runs} runs\n`);
console.log(table(rows));
const [all] = rows;
const ratio = reference.medianMs / (all?.medianMs ?? 1);
console.log(`\nThe reference takes ${ratio.toFixed(1)} times as long.`);
