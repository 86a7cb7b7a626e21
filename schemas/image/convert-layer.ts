import { ScratchFile } from '../disk/scratch-file.ts';
import { writeEstargzLayer } from '../layer/estargz-layer.ts';
import { LayerError } from '../layer/layer-error.ts';
import { openLayer } from '../layer/decompress.ts';
import { type ScannedLayer, scanLayer } from '../layer/scan-layer.ts';
import { writeSeekableLayer } from '../layer/seekable-layer.ts';
import { ANNOTATION } from '../oci/annotations.ts';
import { type Digest, Digester } from '../oci/digest.ts';
import { MEDIA_TYPE } from '../oci/media-types.ts';
import type { Descriptor } from '../oci/types.ts';
import { encodeLayerToc } from '../toc/layer-codec.ts';
import type { ConvertListener } from './convert-listener.ts';
import type { ImageSink, ImageSource, PutResult } from './image-endpoint.ts';
import { ImageError } from './image-error.ts';
import { onDisk } from './on-disk.ts';

/** A layer that has been converted and is in the sink. */
export interface ConvertedLayer {
  readonly source: Descriptor;
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** What the conversion has to say about the layer in its descriptor. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Of the source's tar stream. */
  readonly sourceDiffId: Digest;
  /** Of the result's: the same, unless it has become eStargz. */
  readonly diffId: Digest;
  readonly toc: Uint8Array;
  readonly put: PutResult;
}

export interface LayerConversion {
  readonly source: ImageSource;
  readonly sink: ImageSink;
  readonly estargz: boolean;
  /** A directory on whose file system the layer lies, without a name, until it has been sent. */
  readonly scratch: string;
  readonly listener: ConvertListener;
}

const GZIP_TYPE: Readonly<Record<string, string>> = {
  [MEDIA_TYPE.ociLayer]: MEDIA_TYPE.ociLayerGzip,
  [MEDIA_TYPE.ociLayerGzip]: MEDIA_TYPE.ociLayerGzip,
  [MEDIA_TYPE.ociLayerZstd]: MEDIA_TYPE.ociLayerGzip,
  [MEDIA_TYPE.dockerLayer]: MEDIA_TYPE.dockerLayerGzip,
  [MEDIA_TYPE.dockerLayerGzip]: MEDIA_TYPE.dockerLayerGzip,
  [MEDIA_TYPE.dockerLayerZstd]: MEDIA_TYPE.dockerLayerGzip,
};

/**
 * Reads a layer, writes it seekable, and puts it into the sink. What was written is read back as it goes by,
 * so the table of contents is that of the blob as it is, and a fault of the writer cannot get out.
 *
 * @throws {ImageError} naming the layer
 */
export async function convertLayer(
  conversion: LayerConversion,
  layer: Descriptor,
  signal: AbortSignal,
): Promise<ConvertedLayer> {
  await using file = await onDisk(conversion.scratch, () => ScratchFile.open(conversion.scratch));
  try {
    const sourceDiff = new Digester();
    const scanned = await rewrite(conversion, layer, file, sourceDiff, signal);
    const sourceDiffId = sourceDiff.digest();
    if (!conversion.estargz && scanned.diffId !== sourceDiffId) {
      throw new Error(`the tar stream of ${layer.digest} came out changed`); // a bug, not a fault of the input
    }
    const found = {
      source: layer,
      digest: scanned.layerDigest,
      sizeBytes: scanned.sizeBytes,
      annotations: annotationsOf(scanned),
    };
    const put = await conversion.sink.putBlob(describeLayer(layer, found), () => file.bytes(), signal);
    const toc = encodeLayerToc(scanned.toc);
    const converted = { ...found, sourceDiffId, diffId: scanned.diffId, toc, put };
    conversion.listener.layerDone?.(converted);
    return converted;
  } catch (error) {
    if (!(error instanceof LayerError)) throw error;
    const damaged = error.kind === 'corrupt' || error.kind === 'tar';
    const what = `layer ${layer.digest}`;
    throw new ImageError({ kind: damaged ? 'malformed' : 'unsupported', what }, `${what}: ${error.message}`, {
      cause: error,
    });
  }
}

async function rewrite(
  { source, estargz, listener, scratch }: LayerConversion,
  layer: Descriptor,
  file: ScratchFile,
  sourceDiff: Digester,
  signal: AbortSignal,
): Promise<ScannedLayer> {
  const blob = await source.blob(layer, signal);
  const counted = async function* (): AsyncGenerator<Uint8Array, void> {
    let readBytes = 0;
    for await (const bytes of blob) {
      readBytes += bytes.byteLength;
      listener.layerProgress?.(layer, readBytes);
      yield bytes;
    }
  };
  const { tar } = await openLayer(counted(), signal);
  const digested = async function* (): AsyncGenerator<Uint8Array, void> {
    for await (const bytes of tar) {
      sourceDiff.update(bytes);
      yield bytes;
    }
  };
  const members = (estargz ? writeEstargzLayer : writeSeekableLayer)(digested(), signal);
  const written = async function* (): AsyncGenerator<Uint8Array, void> {
    for await (const bytes of members) {
      await onDisk(scratch, () => file.append(bytes));
      yield bytes;
    }
  };
  return await scanLayer(written(), signal);
}

function annotationsOf(scanned: ScannedLayer): Record<string, string> {
  if (scanned.estargz === undefined) return {};
  return {
    [ANNOTATION.estargzTocDigest]: scanned.estargz.tocDigest,
    [ANNOTATION.estargzUncompressedSize]: String(scanned.tarSizeBytes),
  };
}

/** Annotations about a framing that the layer has no more. */
function isStale(key: string): boolean {
  if (key === ANNOTATION.estargzTocDigest || key === ANNOTATION.estargzUncompressedSize) return true;
  return key.startsWith('io.github.containers.zstd-chunked.');
}

/**
 * The descriptor that a manifest has for a converted layer: its own for the source, with what has changed.
 * The same blob may stand in several manifests under other types and with other annotations.
 */
export function describeLayer(
  use: Descriptor,
  converted: Pick<ConvertedLayer, 'digest' | 'sizeBytes' | 'annotations'>,
): Descriptor {
  const { data: _data, urls: _urls, annotations: own = {}, ...kept } = use;
  const sound = Object.entries(own).filter(([key]) => !isStale(key));
  const annotations = { ...Object.fromEntries(sound), ...converted.annotations };
  return {
    ...kept,
    mediaType: GZIP_TYPE[use.mediaType] ?? use.mediaType,
    digest: converted.digest,
    size: converted.sizeBytes,
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}
