import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../oci/digest.ts';
import { isTag, type Reference } from '../oci/reference.ts';
import type { Descriptor } from '../oci/types.ts';
import type { ImageSink, ManifestDocument, OpenBlob, PutResult, RepositoryPlace } from './image-endpoint.ts';
import { ImageError } from './image-error.ts';
import { IMAGE_LIMIT } from './limits.ts';
import { fallbackTag, withReferrer } from './referrers-index.ts';
import { RETRIED, type RegistryClient, type RegistryResponse } from './registry-client.ts';
import { repositoryName } from './repository-name.ts';
import { readAll } from './verify-stream.ts';

/** How often the upload of one blob is begun. */
const MAX_UPLOADS = 4;
const FIRST_DELAY_MS = 250;

/** A repository of a registry, written to. */
export class RegistrySink implements ImageSink {
  readonly name: string;
  readonly #client: RegistryClient;
  readonly #reference: Reference;
  readonly #path: string;
  readonly #scope: string;
  readonly #mountFrom: string | undefined;

  /** @param from where the image is read: a repository of the same registry is asked to lend its blobs. */
  constructor(client: RegistryClient, reference: Reference, name: string, from?: RepositoryPlace) {
    this.name = name;
    this.#client = client;
    this.#reference = reference;
    const repository = repositoryName(reference);
    this.#path = `/v2/${repository}`;
    const lends = from?.host === reference.host && from.repository !== repository;
    this.#mountFrom = lends ? from.repository : undefined;
    const mountScope = lends ? ` repository:${from.repository}:pull` : '';
    this.#scope = `repository:${repository}:pull,push${mountScope}`;
  }

  async putBlob(descriptor: Descriptor, open: OpenBlob, signal: AbortSignal): Promise<PutResult> {
    const head = await this.#client.send(
      { method: 'HEAD', target: `${this.#path}/blobs/${descriptor.digest}`, scope: this.#scope },
      signal,
    );
    await head.body.dump();
    if (head.statusCode === 200) return 'present';
    for (let attempt = 1; ; attempt += 1) {
      const location = await this.#begin(descriptor, attempt === 1, signal);
      if (location === undefined) return 'mounted';
      location.searchParams.set('digest', descriptor.digest);
      const failure = await this.#upload(location, descriptor, open, signal);
      if (failure === undefined) return 'sent';
      if (attempt >= MAX_UPLOADS) throw failure;
      await sleep(FIRST_DELAY_MS * 2 ** (attempt - 1), undefined, { signal });
    }
  }

  async putManifest(manifest: ManifestDocument, signal: AbortSignal): Promise<void> {
    await (await this.#put(manifest, manifest.digest, signal)).body.dump();
  }

  async publish(manifest: ManifestDocument, signal: AbortSignal): Promise<void> {
    const tag = this.#reference.tag ?? manifest.digest;
    await (await this.#put(manifest, tag, signal)).body.dump();
  }

  async putReferrer(
    manifest: ManifestDocument,
    subject: Digest,
    artifactType: string,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.#put(manifest, manifest.digest, signal);
    await response.body.dump();
    // distribution-spec, "Pushing Manifests with Subject": no header, no referrers API, so the fallback tag.
    if (response.headers['oci-subject'] !== undefined) return;
    const tag = fallbackTag(subject);
    const current = await this.#client.send(
      {
        method: 'GET',
        target: `${this.#path}/manifests/${tag}`,
        scope: this.#scope,
        headers: { accept: 'application/vnd.oci.image.index.v1+json' },
      },
      signal,
    );
    const known = current.statusCode === 200;
    const bytes = known
      ? await readAll(current.body, IMAGE_LIMIT.manifestBytes, 'a list of referrers')
      : undefined;
    if (!known) await current.body.dump();
    const index = withReferrer(bytes, manifest, artifactType);
    if (index !== undefined) await (await this.#put(index, tag, signal)).body.dump();
  }

  async #put(manifest: ManifestDocument, reference: string, signal: AbortSignal): Promise<RegistryResponse> {
    if (!isTag(reference) && reference !== manifest.digest) throw new TypeError('neither tag nor digest');
    return await this.#client.expect(
      {
        method: 'PUT',
        target: `${this.#path}/manifests/${reference}`,
        scope: this.#scope,
        headers: { 'content-type': manifest.mediaType },
        body: () => manifest.bytes,
      },
      [201],
      signal,
    );
  }

  /** Where to upload to; nothing when the blob was mounted from the other repository. */
  async #begin(descriptor: Descriptor, mount: boolean, signal: AbortSignal): Promise<URL | undefined> {
    const from = mount ? this.#mountFrom : undefined;
    const query =
      from === undefined
        ? ''
        : `?mount=${encodeURIComponent(descriptor.digest)}&from=${encodeURIComponent(from)}`;
    const response = await this.#client.expect(
      {
        method: 'POST',
        target: `${this.#path}/blobs/uploads/${query}`,
        scope: this.#scope,
        headers: { 'content-length': '0' },
      },
      from === undefined ? [202] : [201, 202],
      signal,
    );
    await response.body.dump();
    if (response.statusCode === 201) return undefined;
    const { location } = response.headers;
    if (typeof location !== 'string') {
      const fault = { kind: 'refused', host: this.#client.host, status: 202 } as const;
      throw new ImageError(fault, `${this.#client.host} began an upload without saying where`);
    }
    return new URL(location, await this.#client.root(signal));
  }

  /** One request with the whole blob. Gives the failure, if another upload may do better. */
  async #upload(
    location: URL,
    descriptor: Descriptor,
    open: OpenBlob,
    signal: AbortSignal,
  ): Promise<ImageError | undefined> {
    try {
      const response = await this.#client.expect(
        {
          method: 'PUT',
          target: location,
          scope: this.#scope,
          headers: {
            'content-type': 'application/octet-stream',
            'content-length': String(descriptor.size),
          },
          body: open,
          once: true,
        },
        [201],
        signal,
      );
      await response.body.dump();
      return undefined;
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      // What a broken upload has left in the registry would come before what is sent to it again.
      const { fault } = error;
      const refused = fault.kind === 'refused' && (RETRIED.has(fault.status) || fault.status === 416);
      if (!refused && fault.kind !== 'not-found' && fault.kind !== 'unreachable') throw error;
      return error;
    }
  }
}
