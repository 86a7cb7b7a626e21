import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageSink, ManifestDocument, OpenBlob, PutResult } from '../../schemas/image/image-endpoint.ts';
import { ImageError } from '../../schemas/image/image-error.ts';
import { IMAGE_LIMIT } from '../../schemas/image/limits.ts';
import { fallbackTag, withReferrer } from '../../schemas/image/referrers-index.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import type { Descriptor } from '../../schemas/oci/types.ts';
import { parseEndpoint } from '../distribution/endpoint.ts';
import type { HeaderList, RegistryAnswer } from '../registry/registry.ts';
import type { RepositoryName } from '../registry/repository-name.ts';
import { headerValue } from '../upstream/headers.ts';
import { destroyBody, type OwnRegistry, wholeBody } from './own-registry.ts';

/** How often the upload of one blob is begun. */
const MAX_UPLOADS = 3;
const FIRST_DELAY_MS = 500;

/** A repository of a registry that the proxy fronts, written to on the proxy's own account. */
export class OwnSink implements ImageSink {
  readonly name: string;
  readonly #registry: OwnRegistry;
  readonly #repository: RepositoryName;
  readonly #tag: string;

  constructor(registry: OwnRegistry, repository: RepositoryName, tag: string) {
    this.name = `${repository}:${tag}`;
    this.#registry = registry;
    this.#repository = repository;
    this.#tag = tag;
  }

  async putBlob(descriptor: Descriptor, open: OpenBlob, signal: AbortSignal): Promise<PutResult> {
    const { digest } = descriptor;
    const endpoint = { kind: 'blob', name: this.#repository, digest } as const;
    const there = await this.#registry
      .send({ endpoint, method: 'HEAD' }, [200], signal)
      .catch((error: unknown) => missing(error));
    if (there !== undefined) return 'present';
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#upload(descriptor, open, signal);
        return 'sent';
      } catch (error) {
        signal.throwIfAborted();
        if (attempt >= MAX_UPLOADS || !mayPass(error)) throw error;
        await sleep(FIRST_DELAY_MS * 2 ** (attempt - 1), undefined, { signal });
      }
    }
  }

  async putManifest(manifest: ManifestDocument, signal: AbortSignal): Promise<void> {
    await this.#put(manifest, manifest.digest, signal);
  }

  async publish(manifest: ManifestDocument, signal: AbortSignal): Promise<void> {
    await this.#put(manifest, this.#tag, signal);
  }

  async putReferrer(
    manifest: ManifestDocument,
    subject: Digest,
    artifactType: string,
    signal: AbortSignal,
  ): Promise<void> {
    const answer = await this.#put(manifest, manifest.digest, signal);
    // distribution-spec, "Pushing Manifests with Subject": no header, no referrers API, so the fallback tag.
    if (headerValue(answer.headers, 'oci-subject') !== undefined) return;
    const tag = fallbackTag(subject);
    const endpoint = { kind: 'manifest', name: this.#repository, reference: tag } as const;
    const headers = [['Accept', MEDIA_TYPE.ociIndex]] as const;
    const current = await this.#registry
      .send({ endpoint, method: 'GET', headers }, [200], signal)
      .catch((error: unknown) => missing(error));
    const listed =
      current === undefined
        ? undefined
        : await wholeBody(current, IMAGE_LIMIT.manifestBytes, 'a list of referrers');
    const index = withReferrer(listed, manifest, artifactType);
    if (index !== undefined) await this.#put(index, tag, signal);
  }

  async #put(manifest: ManifestDocument, reference: string, signal: AbortSignal): Promise<RegistryAnswer> {
    const answer = await this.#registry.send(
      {
        endpoint: { kind: 'manifest', name: this.#repository, reference },
        method: 'PUT',
        headers: [['Content-Type', manifest.mediaType]],
        body: manifest.bytes,
      },
      [201],
      signal,
    );
    destroyBody(answer);
    return answer;
  }

  async #upload(descriptor: Descriptor, open: OpenBlob, signal: AbortSignal): Promise<void> {
    const begun = await this.#registry.send(
      { endpoint: { kind: 'uploads', name: this.#repository }, method: 'POST' },
      [202],
      signal,
    );
    destroyBody(begun);
    // Both registries of the proxy lead back to the proxy: the path is one of its own.
    const location = URL.parse(headerValue(begun.headers, 'location') ?? '', 'http://proxy.invalid');
    const endpoint = location === null ? undefined : parseEndpoint(location.pathname);
    if (location === null || endpoint?.kind !== 'upload') {
      const fault = { kind: 'refused', host: this.#registry.name, status: 202 } as const;
      throw new ImageError(fault, `${this.#registry.name} began an upload without saying where`);
    }
    const query = new URLSearchParams(location.search);
    query.set('digest', descriptor.digest);
    const headers: HeaderList = [
      ['Content-Type', 'application/octet-stream'],
      ['Content-Length', String(descriptor.size)],
    ];
    const put = { endpoint, method: 'PUT', query, headers, body: open() } as const;
    destroyBody(await this.#registry.send(put, [201], signal));
  }
}

/** Only that it is not there is a miss. */
function missing(error: unknown): undefined {
  if (error instanceof ImageError && error.kind === 'not-found') return undefined;
  throw error;
}

function mayPass(error: unknown): boolean {
  if (!(error instanceof ImageError)) return false;
  const { fault } = error;
  return (
    fault.kind === 'unreachable' ||
    (fault.kind === 'refused' && (fault.status >= 500 || fault.status === 416))
  );
}
