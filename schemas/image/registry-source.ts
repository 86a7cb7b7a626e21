import { isDigest, type Digest } from '../oci/digest.ts';
import { MANIFEST_MEDIA_TYPES, MEDIA_TYPE } from '../oci/media-types.ts';
import type { Reference } from '../oci/reference.ts';
import { type Descriptor, parseIndex } from '../oci/types.ts';
import type { BlobStream, ImageSource, ManifestDocument } from './image-endpoint.ts';
import { ImageError } from './image-error.ts';
import { IMAGE_LIMIT } from './limits.ts';
import { repositoryName } from './repository-name.ts';
import { fallbackTag } from './referrers-index.ts';
import type { RegistryClient, RegistryResponse } from './registry-client.ts';
import { digestOf, digestAlgorithm } from '../oci/digest.ts';
import { readAll, verified, verifyBytes } from './verify-stream.ts';

/** How often a blob's stream is taken up again where it broke, without a byte of progress in between. */
const MAX_RESUMES = 4;

/** An image in a registry, read. */
export class RegistrySource implements ImageSource {
  readonly name: string;
  readonly #client: RegistryClient;
  readonly #reference: Reference;
  readonly #path: string;
  readonly #scope: string;

  constructor(client: RegistryClient, reference: Reference, name: string) {
    this.name = name;
    this.#client = client;
    this.#reference = reference;
    const repository = repositoryName(reference);
    this.#path = `/v2/${repository}`;
    this.#scope = `repository:${repository}:pull`;
  }

  async manifest(signal: AbortSignal, below?: Descriptor): Promise<ManifestDocument> {
    const expected: Digest | undefined = below?.digest ?? this.#reference.digest;
    const response = await this.#client.expect(
      {
        method: 'GET',
        target: `${this.#path}/manifests/${expected ?? this.#reference.tag}`,
        scope: this.#scope,
        headers: { accept: below?.mediaType ?? [...MANIFEST_MEDIA_TYPES, '*/*;q=0.1'].join(', ') },
      },
      [200],
      signal,
    );
    const bytes = await readAll(response.body, IMAGE_LIMIT.manifestBytes, 'a manifest');
    if (expected !== undefined) verifyBytes(bytes, expected);
    const announced = response.headers['docker-content-digest'];
    if (isDigest(announced)) verifyBytes(bytes, announced);
    const digest = expected ?? digestOf(bytes, isDigest(announced) ? digestAlgorithm(announced) : 'sha256');
    const type =
      String(response.headers['content-type'] ?? '')
        .split(';', 1)[0]
        ?.trim() ?? '';
    return { mediaType: below?.mediaType ?? type, digest, bytes };
  }

  async blob(descriptor: Descriptor, signal: AbortSignal): Promise<BlobStream> {
    const first = await this.#open(descriptor, 0, signal);
    return verified(this.#resuming(descriptor, first, signal), descriptor);
  }

  async referrers(subject: Digest, signal: AbortSignal): Promise<readonly Descriptor[]> {
    const api = await this.#list(`${this.#path}/referrers/${subject}`, signal);
    if (api !== undefined) return api;
    return (await this.#list(`${this.#path}/manifests/${fallbackTag(subject)}`, signal)) ?? [];
  }

  /** The entries of an index; nothing where there is none. */
  async #list(target: string, signal: AbortSignal): Promise<readonly Descriptor[] | undefined> {
    const response = await this.#client.send(
      { method: 'GET', target, scope: this.#scope, headers: { accept: MEDIA_TYPE.ociIndex } },
      signal,
    );
    if (response.statusCode !== 200) {
      await response.body.dump();
      return undefined;
    }
    const what = 'a list of referrers';
    return parseIndex(await readAll(response.body, IMAGE_LIMIT.manifestBytes, what)).manifests;
  }

  async #open(descriptor: Descriptor, offset: number, signal: AbortSignal): Promise<RegistryResponse> {
    return await this.#client.expect(
      {
        method: 'GET',
        target: `${this.#path}/blobs/${descriptor.digest}`,
        scope: this.#scope,
        headers: offset === 0 ? {} : { range: `bytes=${offset}-` },
      },
      offset === 0 ? [200] : [206],
      signal,
    );
  }

  /** The blob's bytes, over as many connections as it takes. */
  async *#resuming(
    descriptor: Descriptor,
    first: RegistryResponse,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void> {
    let response = first;
    let offset = 0;
    for (let failures = 0; ; ) {
      try {
        for await (const piece of response.body) {
          const bytes = piece as Uint8Array; // no encoding was set
          offset += bytes.byteLength;
          failures = 0;
          yield bytes;
        }
        return;
      } catch (cause) {
        signal.throwIfAborted();
        failures += 1;
        if (failures > MAX_RESUMES || offset >= descriptor.size) {
          const { host } = this.#client;
          throw new ImageError({ kind: 'unreachable', host }, `${host}: a blob broke off at byte ${offset}`, {
            cause,
          });
        }
        response = await this.#open(descriptor, offset, signal);
      }
    }
  }
}
