import type { ImageSink, ManifestDocument, OpenBlob } from '../../../schemas/image/image-endpoint.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import type { Descriptor } from '../../../schemas/oci/types.ts';

/** A sink that gives no name: what a conversion made is looked at before anybody sees it. */
export class HeldSink implements ImageSink {
  readonly name: string;
  readonly #sink: ImageSink;

  constructor(sink: ImageSink) {
    this.name = sink.name;
    this.#sink = sink;
  }

  putBlob(descriptor: Descriptor, open: OpenBlob, signal: AbortSignal) {
    return this.#sink.putBlob(descriptor, open, signal);
  }

  putManifest(manifest: ManifestDocument, signal: AbortSignal) {
    return this.#sink.putManifest(manifest, signal);
  }

  putReferrer(manifest: ManifestDocument, subject: Digest, artifactType: string, signal: AbortSignal) {
    return this.#sink.putReferrer(manifest, subject, artifactType, signal);
  }

  async publish(): Promise<void> {}
}
