import type { BlobStream, ImageSource, ManifestDocument } from '../../../schemas/image/image-endpoint.ts';
import { ImageError } from '../../../schemas/image/image-error.ts';
import { verified } from '../../../schemas/image/verify-stream.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import type { Descriptor } from '../../../schemas/oci/types.ts';
import type { RegistryReader } from '../registry-reader.ts';
import { referenceText } from '../resolve.ts';

/** An image in a registry that the proxy fronts, to be converted. What it throws beside misses is the reader's. */
export class ReaderSource implements ImageSource {
  readonly name: string;
  readonly #reader: RegistryReader;
  readonly #repository: string;
  readonly #reference: string;

  constructor(reader: RegistryReader, repository: string, reference: string) {
    this.name = referenceText(repository, reference);
    this.#reader = reader;
    this.#repository = repository;
    this.#reference = reference;
  }

  async manifest(signal: AbortSignal, below?: Descriptor): Promise<ManifestDocument> {
    const reference = below?.digest ?? this.#reference;
    const found = await this.#reader.manifest(this.#repository, reference, undefined, signal);
    if (found === undefined) throw this.#missing(`manifest ${reference}`);
    return below === undefined ? found : { ...found, mediaType: below.mediaType };
  }

  async blob(descriptor: Descriptor, signal: AbortSignal): Promise<BlobStream> {
    const { digest } = descriptor;
    const blob = await this.#reader.blob(this.#repository, digest, undefined, undefined, signal);
    if (blob === undefined) throw this.#missing(`blob ${digest}`);
    return verified(blob.bytes, descriptor);
  }

  async referrers(subject: Digest, signal: AbortSignal): Promise<readonly Descriptor[]> {
    return await this.#reader.referrers(this.#repository, subject, undefined, undefined, signal);
  }

  #missing(what: string): ImageError {
    return new ImageError({ kind: 'not-found', what }, `${this.name}: the registry has no ${what}`);
  }
}
