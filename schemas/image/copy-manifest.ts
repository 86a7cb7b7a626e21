import { MEDIA_TYPE } from '../oci/media-types.ts';
import { type Manifest, parseManifest } from '../oci/types.ts';
import type { ImageSink, ImageSource, ManifestDocument } from './image-endpoint.ts';

/** Stores a manifest as it is, with all blobs that it names. */
export async function copyManifest(
  source: ImageSource,
  sink: ImageSink,
  document: ManifestDocument,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<void> {
  for (const descriptor of [manifest.config, ...manifest.layers]) {
    // What is to be had elsewhere (image-spec, "Non-Distributable Layers") need not be here.
    if ((descriptor.urls ?? []).length > 0) continue;
    const open = async function* (): AsyncGenerator<Uint8Array, void> {
      yield* await source.blob(descriptor, signal);
    };
    await sink.putBlob(descriptor, open, signal);
  }
  await sink.putManifest(document, signal);
}

/** Brings the table of contents of an image that was converted before along with it, if it is there. */
export async function copyToc(
  source: ImageSource,
  sink: ImageSink,
  image: ManifestDocument,
  signal: AbortSignal,
): Promise<void> {
  for (const entry of await source.referrers(image.digest, signal)) {
    if (entry.artifactType !== MEDIA_TYPE.starlightToc) continue;
    const artifact = await source.manifest(signal, entry);
    await copyManifest(source, sink, artifact, parseManifest(artifact.bytes), signal);
    await sink.putReferrer(artifact, image.digest, MEDIA_TYPE.starlightToc, signal);
  }
}
