import { ANNOTATION } from '../oci/annotations.ts';
import type { Digest } from '../oci/digest.ts';
import { digestOf } from '../oci/digest.ts';
import type { Descriptor, Manifest } from '../oci/types.ts';
import { parseImageConfig } from '../oci/types.ts';
import { joinLayerTocs, tocDigestOf } from '../toc/image-toc.ts';
import { type ConvertedLayer, convertLayer, describeLayer, type LayerConversion } from './convert-layer.ts';
import type { ManifestDocument } from './image-endpoint.ts';
import { ImageError } from './image-error.ts';
import { IMAGE_LIMIT } from './limits.ts';
import { jsonDocument } from './referrers-index.ts';
import { putTocArtifact } from './toc-artifact.ts';
import { readAll } from './verify-stream.ts';

/** One image of a conversion's result. */
export interface ConvertedImage {
  readonly sourceDigest: Digest;
  readonly manifest: ManifestDocument;
  readonly tocDigest: Digest;
  readonly layers: readonly ConvertedLayer[];
}

/** Layers of one image that are converted side by side: one is read or sent while another is compressed. */
const LANES = 2;

/** Converts images between one source and one sink; a layer that several of them share is converted once. */
export class ImageConverter {
  readonly #conversion: LayerConversion;
  readonly #layers = new Map<Digest, Promise<ConvertedLayer>>();

  constructor(conversion: LayerConversion) {
    this.#conversion = conversion;
  }

  /**
   * Converts one image and stores it, with its table of contents, by digest.
   *
   * @throws {ImageError}
   */
  async convert(
    document: ManifestDocument,
    manifest: Manifest,
    signal: AbortSignal,
  ): Promise<ConvertedImage> {
    const { source, sink, estargz } = this.#conversion;
    const configBlob = await source.blob(manifest.config, signal);
    const config = await readAll(configBlob, IMAGE_LIMIT.configBytes, 'an image config');
    const parsed = parseImageConfig(config);
    const diffIds = parsed.rootfs.diff_ids;
    if (diffIds.length !== manifest.layers.length) {
      const what = `image ${document.digest}`;
      const counts = `${diffIds.length} layers in its config, ${manifest.layers.length} in its manifest`;
      throw new ImageError({ kind: 'malformed', what }, `${what}: ${counts}`);
    }
    this.#conversion.listener.imageStarted?.(manifest.layers, parsed);
    const layers = await this.#convertLayers(manifest.layers, signal);
    for (const [row, layer] of layers.entries()) {
      const expected = diffIds[row];
      if (expected === undefined || layer.sourceDiffId === expected) continue;
      const message = `layer ${layer.source.digest} unpacks to ${layer.sourceDiffId}, its config names ${expected}`;
      throw new ImageError({ kind: 'digest-mismatch', expected }, message);
    }
    const { bytes: newConfig, descriptor: configDescriptor } = estargz
      ? withDiffIds(config, manifest.config, layers)
      : { bytes: config, descriptor: manifest.config };
    await sink.putBlob(configDescriptor, () => once(newConfig), signal);
    const toc = joinLayerTocs(layers.map((layer) => layer.toc));
    const tocDigest = tocDigestOf(toc);
    const converted = rewriteManifest(document, configDescriptor, layers, tocDigest);
    await sink.putManifest(converted, signal);
    await putTocArtifact(sink, converted, toc, signal);
    return { sourceDigest: document.digest, manifest: converted, tocDigest, layers };
  }

  async #convertLayers(descriptors: readonly Descriptor[], signal: AbortSignal): Promise<ConvertedLayer[]> {
    const failure = new AbortController();
    const both = AbortSignal.any([signal, failure.signal]);
    const rows = descriptors.entries();
    const converted: ConvertedLayer[] = [];
    const lane = async (): Promise<void> => {
      for (const [row, descriptor] of rows) {
        both.throwIfAborted();
        converted[row] = await this.#layer(descriptor, both);
      }
    };
    const lanes = Array.from({ length: LANES }, lane);
    try {
      await Promise.all(lanes);
    } catch (error) {
      failure.abort(error);
      await Promise.allSettled(lanes);
      throw error;
    }
    return converted;
  }

  #layer(descriptor: Descriptor, signal: AbortSignal): Promise<ConvertedLayer> {
    const known = this.#layers.get(descriptor.digest);
    if (known !== undefined) return known;
    this.#conversion.listener.layerStarted?.(descriptor);
    const converting = convertLayer(this.#conversion, descriptor, signal);
    converting.catch(() => {}); // heard of by whoever waits
    this.#layers.set(descriptor.digest, converting);
    return converting;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

function rewriteManifest(
  document: ManifestDocument,
  config: Descriptor,
  layers: readonly ConvertedLayer[],
  tocDigest: Digest,
): ManifestDocument {
  // From the bytes, not from the checked form: keys that are unknown here are kept, in their order.
  const original = JSON.parse(Buffer.from(document.bytes).toString('utf8')) as Manifest;
  return jsonDocument(document.mediaType, {
    ...original,
    config,
    layers: layers.map((layer, row) => describeLayer(original.layers[row] ?? layer.source, layer)),
    annotations: {
      ...original.annotations,
      [ANNOTATION.tocDigest]: tocDigest,
      [ANNOTATION.convertedFrom]: document.digest,
    },
  });
}

/** The config with the diffIDs of layers that have become eStargz; all else as it was. */
function withDiffIds(
  config: Buffer,
  descriptor: Descriptor,
  layers: readonly ConvertedLayer[],
): { bytes: Buffer; descriptor: Descriptor } {
  const original = JSON.parse(config.toString('utf8')) as { rootfs: object }; // checked before
  const rootfs = { ...original.rootfs, diff_ids: layers.map((layer) => layer.diffId) };
  const bytes = Buffer.from(JSON.stringify({ ...original, rootfs }));
  const { data: _data, ...rest } = descriptor;
  return { bytes, descriptor: { ...rest, digest: digestOf(bytes), size: bytes.length } };
}
