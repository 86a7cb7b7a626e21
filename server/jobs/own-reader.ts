import type {
  BlobRange,
  CallerAuthorization,
  RegistryReader,
} from '../../extensions/starlight/registry-reader.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { OwnAuthorization } from './own-credentials.ts';

/** Reads a registry with the proxy's own rights, whoever asks. */
export class OwnReader implements RegistryReader {
  readonly #reader: RegistryReader;
  readonly #own: OwnAuthorization;

  constructor(reader: RegistryReader, own: OwnAuthorization) {
    this.#reader = reader;
    this.#own = own;
  }

  async manifest(name: string, reference: string, _auth: CallerAuthorization, signal: AbortSignal) {
    return await this.#reader.manifest(name, reference, await this.#own(signal), signal);
  }

  async blob(
    name: string,
    digest: Digest,
    range: BlobRange | undefined,
    _auth: CallerAuthorization,
    signal: AbortSignal,
  ) {
    return await this.#reader.blob(name, digest, range, await this.#own(signal), signal);
  }

  async referrers(
    name: string,
    digest: Digest,
    artifactType: string | undefined,
    _auth: CallerAuthorization,
    signal: AbortSignal,
  ) {
    return await this.#reader.referrers(name, digest, artifactType, await this.#own(signal), signal);
  }
}
