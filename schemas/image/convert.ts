import { tmpdir } from 'node:os';
import type { Digest } from '../oci/digest.ts';
import { isIndexType, isManifestType } from '../oci/media-types.ts';
import { formatPlatform, platformMatches } from '../oci/platform.ts';
import {
  type Descriptor,
  DocumentError,
  type Index,
  parseImageConfig,
  parseIndex,
  parseManifest,
  type Manifest,
  type Platform,
} from '../oci/types.ts';
import { type ConvertedImage, ImageConverter } from './convert-image.ts';
import type { ConvertListener } from './convert-listener.ts';
import { copyManifest, copyToc } from './copy-manifest.ts';
import type { ImageSink, ImageSource, ManifestDocument } from './image-endpoint.ts';
import { ImageError } from './image-error.ts';
import { IMAGE_LIMIT } from './limits.ts';
import { recognise } from './recognise.ts';
import { jsonDocument } from './referrers-index.ts';
import { readAll } from './verify-stream.ts';

export interface ConvertOptions {
  /** Which images of an index; all of them when left out. */
  readonly platforms?: readonly Platform[] | undefined;
  /** Make the layers valid eStargz as well; diffIDs and config change then. */
  readonly estargz?: boolean;
  readonly listener?: ConvertListener;
}

/** A manifest that went over as it was. */
export interface CopiedManifest {
  readonly digest: Digest;
  readonly reason: string;
}

export interface Conversion {
  /** What the destination names now. */
  readonly root: ManifestDocument;
  readonly images: readonly ConvertedImage[];
  readonly copied: readonly CopiedManifest[];
}

/** BuildKit: the image that an attestation in the same index is about. */
const ATTESTED = 'vnd.docker.reference.digest';

/**
 * Converts what `source` names, an image or an index of several, and publishes it in `sink` as the last step.
 * The same input gives the same bytes.
 *
 * @throws {ImageError} and, for documents that are not what they should be, also as one
 */
export async function convert(
  source: ImageSource,
  sink: ImageSink,
  options: ConvertOptions,
  signal: AbortSignal,
): Promise<Conversion> {
  try {
    const { estargz = false, listener = {} } = options;
    const converter = new ImageConverter({ source, sink, estargz, scratch: tmpdir(), listener });
    const run = new Run(source, sink, { ...options, estargz }, converter);
    const root = await run.document(await source.manifest(signal), 0, undefined, signal);
    if (root === undefined) throw run.noPlatform();
    await sink.publish(root, signal);
    return { root, images: run.images, copied: run.copied };
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new ImageError({ kind: 'malformed', what: source.name }, `${source.name}: ${error.message}`, {
      cause: error,
    });
  }
}

class Run {
  readonly images: ConvertedImage[] = [];
  readonly copied: CopiedManifest[] = [];
  readonly #source: ImageSource;
  readonly #sink: ImageSink;
  readonly #platforms: readonly Platform[] | undefined;
  readonly #estargz: boolean;
  readonly #converter: ImageConverter;
  /** What indexes had, to be named when none of it was asked for. */
  readonly #offered: Platform[] = [];
  #manifests = 0;

  constructor(
    source: ImageSource,
    sink: ImageSink,
    options: ConvertOptions & { readonly estargz: boolean },
    converter: ImageConverter,
  ) {
    this.#source = source;
    this.#sink = sink;
    this.#platforms = options.platforms;
    this.#estargz = options.estargz;
    this.#converter = converter;
  }

  /** What the document has become, stored; undefined for an index of which nothing was asked for. */
  async document(
    document: ManifestDocument,
    depth: number,
    listed: Descriptor | undefined,
    signal: AbortSignal,
  ): Promise<ManifestDocument | undefined> {
    this.#manifests += 1;
    if (this.#manifests > IMAGE_LIMIT.manifests || depth > IMAGE_LIMIT.indexDepth) {
      throw new ImageError(
        { kind: 'malformed', what: this.#source.name },
        `${this.#source.name}: too many manifests`,
      );
    }
    const mediaType = mediaTypeOf(document);
    if (isIndexType(mediaType)) return await this.#index({ ...document, mediaType }, depth, signal);
    if (!isManifestType(mediaType)) {
      throw new ImageError(
        { kind: 'unsupported', what: mediaType },
        `nothing to convert: ${mediaType || 'of no type'}`,
      );
    }
    return await this.#manifest({ ...document, mediaType }, listed, signal);
  }

  async #manifest(
    document: ManifestDocument,
    listed: Descriptor | undefined,
    signal: AbortSignal,
  ): Promise<ManifestDocument> {
    const manifest = parseManifest(document.bytes);
    const recognised = recognise(manifest, this.#estargz);
    if (recognised.kind !== 'other' && listed === undefined) await this.#checkPlatform(manifest, signal);
    if (recognised.kind === 'image') {
      const converted = await this.#converter.convert(document, manifest, signal);
      this.images.push(converted);
      return converted.manifest;
    }
    await copyManifest(this.#source, this.#sink, document, manifest, signal);
    if (recognised.kind === 'converted') await copyToc(this.#source, this.#sink, document, signal);
    const reason = recognised.kind === 'converted' ? 'already converted' : recognised.reason;
    this.copied.push({ digest: document.digest, reason });
    return document;
  }

  async #index(
    document: ManifestDocument,
    depth: number,
    signal: AbortSignal,
  ): Promise<ManifestDocument | undefined> {
    const index = parseIndex(document.bytes);
    this.#offered.push(...index.manifests.flatMap((entry) => entry.platform ?? []));
    const wanted = index.manifests.filter((entry) => this.#wants(entry, index.manifests));
    const entries: Descriptor[] = [];
    for (const entry of wanted) {
      const before = await this.#source.manifest(signal, entry);
      const after = await this.document(before, depth + 1, entry, signal);
      if (after === undefined) continue;
      const same = after.digest === entry.digest;
      const { data: _data, ...rest } = entry;
      entries.push(same ? entry : { ...rest, digest: after.digest, size: after.bytes.byteLength });
    }
    if (this.#platforms !== undefined && entries.length === 0) return undefined;
    const changed =
      entries.length !== index.manifests.length ||
      entries.some((entry, row) => entry.digest !== index.manifests[row]?.digest);
    // From the bytes: keys that are unknown here are kept, in their order.
    const original = JSON.parse(Buffer.from(document.bytes).toString('utf8')) as Index;
    const result = changed ? jsonDocument(document.mediaType, { ...original, manifests: entries }) : document;
    if (depth > 0) await this.#sink.putManifest(result, signal);
    return result;
  }

  #selects(entry: Descriptor): boolean {
    const { platform } = entry;
    if (this.#platforms === undefined) return true;
    return platform !== undefined && this.#platforms.some((one) => platformMatches(one, platform));
  }

  /** An attestation goes with the image that it is about. */
  #wants(entry: Descriptor, siblings: readonly Descriptor[]): boolean {
    if (this.#selects(entry) || isIndexType(entry.mediaType)) return true;
    const about = entry.annotations?.[ATTESTED];
    return siblings.some((one) => one.digest === about && this.#selects(one));
  }

  async #checkPlatform(manifest: Manifest, signal: AbortSignal): Promise<void> {
    if (this.#platforms === undefined) return;
    const blob = await this.#source.blob(manifest.config, signal);
    const { os, architecture, variant } = parseImageConfig(
      await readAll(blob, IMAGE_LIMIT.configBytes, 'an image config'),
    );
    const own: Platform = {
      os: os ?? '',
      architecture: architecture ?? '',
      ...(variant === undefined ? {} : { variant }),
    };
    if (!this.#platforms.some((one) => platformMatches(one, own))) {
      this.#offered.push(own);
      throw this.noPlatform();
    }
  }

  noPlatform(): ImageError {
    const wanted = (this.#platforms ?? []).map(formatPlatform).join(', ');
    const has = this.#offered.map(formatPlatform).join(', ') || 'no platform at all';
    const what = `${this.#source.name} for ${wanted}`;
    return new ImageError(
      { kind: 'not-found', what },
      `${this.#source.name} is not for ${wanted}: it has ${has}`,
    );
  }
}

/** By the document itself where it says so: the answer's header, or a descriptor, may be wrong. */
function mediaTypeOf(document: ManifestDocument): string {
  try {
    const value = JSON.parse(Buffer.from(document.bytes).toString('utf8')) as { mediaType?: unknown };
    if (typeof value.mediaType === 'string') return value.mediaType;
  } catch (cause) {
    throw new DocumentError('manifest', 'not JSON', { cause });
  }
  return document.mediaType;
}
