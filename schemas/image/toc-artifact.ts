import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';
import { digestOf } from '../oci/digest.ts';
import { MEDIA_TYPE } from '../oci/media-types.ts';
import type { Descriptor } from '../oci/types.ts';
import type { ImageSink, ManifestDocument } from './image-endpoint.ts';
import { jsonDocument } from './referrers-index.ts';

const compress = promisify(zstdCompress);
const LEVEL = 12;

/** image-spec, manifest.md, "Guidance for an Empty Descriptor". */
const EMPTY = Buffer.from('{}');
const EMPTY_DESCRIPTOR: Descriptor = {
  mediaType: MEDIA_TYPE.ociEmpty,
  digest: digestOf(EMPTY),
  size: EMPTY.length,
  data: EMPTY.toString('base64'),
};

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}

/** Stores an image's table of contents in the sink, as a referrer of its manifest, which is there already. */
export async function putTocArtifact(
  sink: ImageSink,
  subject: ManifestDocument,
  toc: Uint8Array,
  signal: AbortSignal,
): Promise<ManifestDocument> {
  const blob = await compress(toc, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } });
  const layer: Descriptor = {
    mediaType: MEDIA_TYPE.starlightTocZstd,
    digest: digestOf(blob),
    size: blob.length,
  };
  const manifest = jsonDocument(MEDIA_TYPE.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    artifactType: MEDIA_TYPE.starlightToc,
    config: EMPTY_DESCRIPTOR,
    layers: [layer],
    subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.bytes.byteLength },
  });
  await sink.putBlob(EMPTY_DESCRIPTOR, () => once(EMPTY), signal);
  await sink.putBlob(layer, () => once(blob), signal);
  await sink.putReferrer(manifest, subject.digest, MEDIA_TYPE.starlightToc, signal);
  return manifest;
}
