import { encodeBundleHeader } from '../../schemas/bundle/header-codec.ts';
import type { BundleBlob, BundleHeader, BundleToc } from '../../schemas/bundle/header.ts';
import { packTocAgainst } from '../../schemas/bundle/toc-packing.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { Authorised } from './authorise.ts';
import type { BundlePlan } from './bundle-plan.ts';
import type { RankRow } from './directory.ts';
import type { LoadedImage } from './image-store.ts';
import type { HeldImage } from './optimizer/image.ts';
import type { PayloadPlan } from './payload-plan.ts';
import { planPayloads } from './plan-payloads.ts';

/** Goes up with every change that gives other bytes for the same question. */
export const PLAN_VERSION = 2;

export interface BundleRequest {
  readonly authorised: Authorised;
  /** In the order of `authorised.to`. */
  readonly wanted: readonly LoadedImage[];
  /** Of each wanted image. */
  readonly ranks: readonly (readonly RankRow[])[];
  readonly from: readonly HeldImageContents[];
  /** The bytes of the table of each `from` image that `dictionaryFor` chose, by its digest. */
  readonly dictionaries: ReadonlyMap<Digest, Uint8Array>;
}

/** What the bundle needs to know of an image that the worker has: little, as there may be hundreds. */
export interface HeldImageContents {
  /** The repository that the worker named. */
  readonly name: string;
  readonly manifestDigest: Digest;
  readonly tocDigest: Digest;
  readonly tocSizeBytes: number;
  readonly diffIds: readonly Digest[];
  readonly contents: HeldImage;
}

/** The bundle for a question, up to its payloads: a pure function, the same request gives the same bytes. */
export async function makeBundle(
  request: BundleRequest,
): Promise<Pick<BundlePlan, 'header'> & { readonly payloads: PayloadPlan }> {
  const { authorised, wanted, ranks, from, dictionaries } = request;
  // Begun first: they are packed on other threads while the payloads are planned here.
  const packing = Promise.all(wanted.map((image) => tocOf(image, from, dictionaries)));
  packing.catch(() => undefined);
  const names = authorised.to.map(({ name }) => name);
  const { files, payloads, plan } = planPayloads({
    names,
    wanted,
    ranks,
    held: from.map(({ contents }) => contents),
  });
  const header: BundleHeader = {
    images: wanted.map((image, row) => imageOf(image, authorised.to[row])),
    from: from.map(({ name, manifestDigest, tocDigest }) => ({ name, manifestDigest, tocDigest })),
    unknownFrom: [...authorised.unknownFrom],
    blobs: blobsOf(authorised, wanted),
    tocs: await packing,
    files,
    payloads,
  };
  return { header: encodeBundleHeader(header), payloads: plan };
}

function imageOf(
  { record }: LoadedImage,
  asked: Authorised['to'][number] | undefined,
): BundleHeader['images'][number] {
  return {
    name: asked?.name ?? '',
    reference: asked?.reference ?? '',
    manifestDigest: record.manifest.digest,
    ...(asked?.index === undefined ? {} : { indexDigest: asked.index.digest }),
    platform: record.platform,
    tocDigest: record.tocDigest,
    tocBound: record.tocBound,
    layers: record.layers.map(({ digest, sizeBytes, diffId }) => ({ digest, size: sizeBytes, diffId })),
  };
}

/** Indexes, manifests and configs, each once, in the order in which they are read. */
function blobsOf(authorised: Authorised, wanted: readonly LoadedImage[]): BundleBlob[] {
  const blobs = new Map<Digest, BundleBlob>();
  wanted.forEach((image, row) => {
    const index = authorised.to[row]?.index;
    for (const { digest, mediaType, bytes } of [
      ...(index === undefined ? [] : [index]),
      image.record.manifest,
      image.record.config,
    ]) {
      if (!blobs.has(digest)) blobs.set(digest, { digest, mediaType, bytes });
    }
  });
  return [...blobs.values()];
}

/** The table of a wanted image: as the directory keeps it, or against another where that is smaller. */
async function tocOf(
  image: LoadedImage,
  from: readonly HeldImageContents[],
  dictionaries: ReadonlyMap<Digest, Uint8Array>,
): Promise<BundleToc> {
  const { record, tocBytes } = image;
  const plain: BundleToc = {
    tocDigest: record.tocDigest,
    sizeBytes: record.toc.sizeBytes,
    dictionary: undefined,
    bytes: record.toc.bytes,
  };
  const old = dictionaryFor(image, from);
  const oldBytes = old === undefined ? undefined : dictionaries.get(old.tocDigest);
  if (old === undefined || oldBytes === undefined) return plain;
  const packed = await packTocAgainst(tocBytes, record.tocDigest, oldBytes, old.tocDigest);
  return packed.bytes.length < plain.bytes.length ? packed : plain;
}

/**
 * The image whose table is to be the dictionary for that of a wanted one: the one that shares the most layers,
 * of equals the one whose table is nearest in size.
 */
export function dictionaryFor(
  image: LoadedImage,
  from: readonly HeldImageContents[],
): HeldImageContents | undefined {
  const own = new Set(image.record.layers.map(({ diffId }) => diffId));
  const size = image.tocBytes.length;
  let best: { image: HeldImageContents; shared: number; distance: number } | undefined;
  for (const candidate of from) {
    const shared = candidate.diffIds.filter((diffId) => own.has(diffId)).length;
    const distance = Math.abs(candidate.tocSizeBytes - size);
    if (best === undefined || shared > best.shared || (shared === best.shared && distance < best.distance)) {
      best = { image: candidate, shared, distance };
    }
  }
  return best?.image;
}
