import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { formatPlatform } from '../../schemas/oci/platform.ts';
import {
  DocumentError,
  type ImageConfig,
  type Manifest,
  parseImageConfig,
  parseManifest,
  type Platform,
} from '../../schemas/oci/types.ts';
import { TocError } from '../../schemas/toc/error.ts';
import { decodeImageToc, joinLayerTocs } from '../../schemas/toc/image-toc.ts';
import type { LayerToc } from '../../schemas/toc/layer-toc.ts';
import { mergeLayers } from '../../schemas/toc/merge.ts';
import type { Tree } from '../../schemas/toc/tree.ts';
import type { ImageRecord, LayerRecord, RawDocument } from './directory.ts';
import { imageProcess } from './image-command.ts';
import type { LayerScanner } from './layer-scanner.ts';
import { encodeShown, shownContents } from './optimizer/shown.ts';
import { pack, unpack } from './packed.ts';
import { recognise } from './recognise.ts';
import type { CallerRepository, IngestRepository } from './resolve.ts';
import { findStart } from './start/find-start.ts';
import { StarlightError } from './starlight-error.ts';

/** The largest image config that is read; containerd stops at 4 MiB as well. */
const MAX_CONFIG_BYTES = 4 * 1024 * 1024;

export type ReadImage =
  | { readonly kind: 'image'; readonly image: ImageRecord; readonly layers: readonly LayerRecord[] }
  | { readonly kind: 'not-converted'; readonly reason: string; readonly platform: string };

export interface ImageReading {
  readonly scanner: LayerScanner;
  /** What the ingest has read so far; added to. */
  readonly scanned: Map<Digest, LayerRecord>;
  /** Told why it is not known what an image opens first: it is taken in all the same. */
  readonly onStartUnknown: (error: unknown) => void;
}

/**
 * Reads a converted image from its registry and proves it: every layer is what its digest says, unpacks to the
 * diffID of the config, and the layers together have the table of contents that the manifest names.
 * @throws {StarlightError} `image-refused` where something does not fit.
 */
export async function readImage(
  repository: IngestRepository,
  document: RawDocument,
  indexPlatform: Platform | undefined,
  { scanner, scanned, onStartUnknown }: ImageReading,
  signal: AbortSignal,
): Promise<ReadImage> {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new StarlightError({ kind: 'image-refused', manifest: document.digest, reason }, { cause });
  };
  const parse = <T>(parser: (bytes: Uint8Array) => T, bytes: Uint8Array): T => {
    try {
      return parser(bytes);
    } catch (error) {
      return error instanceof DocumentError ? refuse(error.message, error) : fail(error);
    }
  };

  const manifest = parse(parseManifest, document.bytes);
  const recognition = recognise(manifest);
  if (recognition.kind === 'not-converted') {
    const platform = indexPlatform === undefined ? '' : formatPlatform(indexPlatform);
    return { kind: 'not-converted', reason: recognition.reason, platform };
  }
  const config = await readConfig(repository, manifest, refuse, signal);
  const imageConfig = parse(parseImageConfig, config.bytes);
  const layers = await scanner.layers(repository, document.digest, manifest.layers, scanned, signal);
  const diffIds = imageConfig.rootfs.diff_ids;
  if (diffIds.length !== layers.length) {
    refuse(`its config names ${diffIds.length} layers, its manifest ${layers.length}`);
  }
  layers.forEach((layer, row) => {
    if (layer.diffId !== diffIds[row]) {
      refuse(`layer ${layer.digest} unpacks to ${layer.diffId}, its config names ${diffIds[row]}`);
    }
    const named = manifest.layers[row]?.annotations?.[ANNOTATION.estargzTocDigest];
    if (named !== undefined && named !== layer.estargzTocDigest) {
      const found = layer.estargzTocDigest ?? 'none';
      refuse(`table of contents disagrees with the layers: ${layer.digest} names ${named}, it has ${found}`);
    }
  });
  const toc = joinLayerTocs(await Promise.all(layers.map((layer) => unpack(layer.toc))));
  const tocDigest = digestOf(toc);
  if (recognition.kind === 'starlight' && recognition.tocDigest !== tocDigest) {
    const { tocDigest: named } = recognition;
    refuse(
      `table of contents disagrees with the layers: the manifest names ${named}, they have ${tocDigest}`,
    );
  }
  const tables = decodeImageToc(toc);
  let tree: Tree;
  let shown: Uint8Array;
  try {
    tree = mergeLayers(tables);
    shown = encodeShown(shownContents(tables, tree, imageProcess(config.bytes).command));
  } catch (error) {
    return error instanceof TocError
      ? refuse(`its layers cannot be applied: ${error.message}`, error)
      : fail(error);
  }
  const readable = {
    tree,
    layers: layers.map(({ digest }, row) => ({ digest, toc: tables[row] as LayerToc })), // joined from them above
  };
  const start = await findStart(repository, readable, config.bytes, signal).catch((error: unknown) => {
    signal.throwIfAborted();
    onStartUnknown(error);
    return undefined;
  });
  const image: ImageRecord = {
    manifest: document,
    config,
    platform: platformOf(imageConfig, indexPlatform),
    tocDigest,
    tocBound: recognition.kind === 'starlight',
    toc: await pack(toc),
    shown: await pack(shown),
    ...(start === undefined ? {} : { startOrder: start }),
    layers: layers.map(({ digest, diffId, sizeBytes }) => ({ digest, diffId, sizeBytes })),
  };
  return { kind: 'image', image, layers };
}

async function readConfig(
  repository: CallerRepository,
  manifest: Manifest,
  refuse: (reason: string) => never,
  signal: AbortSignal,
): Promise<RawDocument> {
  const { digest, size, mediaType } = manifest.config;
  if (size > MAX_CONFIG_BYTES) refuse(`its config of ${size} bytes is larger than ${MAX_CONFIG_BYTES}`);
  const blob = await repository.reader.blob(repository.name, digest, undefined, repository.auth, signal);
  if (blob === undefined) return refuse(`its config ${digest} is not in the repository`);
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of blob.bytes) {
    sizeBytes += part.length;
    if (sizeBytes > size) return refuse(`its config is larger than the ${size} bytes that it names`);
    parts.push(part);
  }
  const bytes = Buffer.concat(parts);
  const algorithm = digest.startsWith('sha512:') ? 'sha512' : 'sha256';
  if (digestOf(bytes, algorithm) !== digest) refuse(`its config is not the one of digest ${digest}`);
  return { digest, mediaType, bytes };
}

/** What the config says goes before what an index says; an image that says nothing runs on linux/amd64. */
function platformOf(config: ImageConfig, indexPlatform: Platform | undefined): string {
  const os = config.os ?? indexPlatform?.os ?? 'linux';
  const architecture = config.architecture ?? indexPlatform?.architecture ?? 'amd64';
  const variant = config.variant ?? indexPlatform?.variant;
  return formatPlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) });
}

function fail(error: unknown): never {
  throw error;
}
