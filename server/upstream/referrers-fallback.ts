import { Readable } from 'node:stream';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../schemas/oci/digest.ts';
import { MANIFEST_MEDIA_TYPES } from '../../schemas/oci/media-types.ts';
import { referrersPage, referrersSubject } from '../registry/answer-page.ts';
import { MAX_MANIFEST_BYTES, readManifestBody } from '../registry/manifest-body.ts';
import { type ManifestFacts, readManifest, referrerDescriptor } from '../registry/manifest-document.ts';
import type {
  Endpoint,
  EndpointOf,
  Registry,
  RegistryAnswer,
  RegistryRequest,
} from '../registry/registry.ts';
import { isUpstreamAway, RegistryError } from '../registry/registry-error.ts';
import { requestFor } from '../registry/request-for.ts';
import { headerValue } from './headers.ts';
import { bodyOf, isSuccess, letGo, type ReferrersKey, ReferrersTag } from './referrers-tag.ts';

/** What a registry without the referrers API says to a request for it. */
const LACKING: ReadonlySet<number> = new Set([404, 405, 501]);

/**
 * Gives a registry the referrers API where it lacks it (distribution 2.8 and 3.1 do): lists come from the tag that
 * clients keep for such registries, and what is pushed or deleted through here is entered there. A registry that
 * has the API is left alone, and so is every other request.
 *
 * Stands right in front of the registry: a cache in between would show lists that are no longer true.
 */
export class ReferrersFallback implements Registry {
  readonly #registry: Registry;
  readonly #tags: ReferrersTag;
  readonly #manifestBytes: number;

  /** A manifest of more than `manifestBytes` is refused. */
  constructor(registry: Registry, manifestBytes: number = MAX_MANIFEST_BYTES) {
    this.#registry = registry;
    this.#tags = new ReferrersTag(registry);
    this.#manifestBytes = manifestBytes;
  }

  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    const { endpoint, method } = request;
    if (endpoint.kind === 'referrers') return this.#list({ ...request, endpoint });
    if (endpoint.kind === 'manifest' && method === 'PUT') return this.#push({ ...request, endpoint });
    if (endpoint.kind === 'manifest' && method === 'DELETE' && isDigest(endpoint.reference)) {
      return this.#delete({ ...request, endpoint }, endpoint.reference);
    }
    return this.#registry.answer(request);
  }

  async #list(request: RegistryRequest<EndpointOf<'referrers'>>): Promise<RegistryAnswer> {
    const answer = await this.#registry.answer(request);
    if (!LACKING.has(answer.status)) return answer;
    letGo(answer);
    const key = { name: request.endpoint.name, subject: referrersSubject(request) };
    const found = await this.#tags.read(request, key);
    if (found.kind === 'refused') return found.answer;
    return referrersPage(request, found.index.manifests);
  }

  async #push(request: RegistryRequest<EndpointOf<'manifest'>>): Promise<RegistryAnswer> {
    const bytes = await readManifestBody(
      request.body,
      request.headers['content-length'],
      this.#manifestBytes,
    );
    const body = Readable.from([bytes], { objectMode: false });
    const answer = await this.#registry.answer({ ...request, body });
    if (!isSuccess(answer.status) || headerValue(answer.headers, 'oci-subject') !== undefined) return answer;
    const facts = factsOf(bytes, request.headers['content-type']);
    if (facts?.subject === undefined) return answer;
    const { name, reference } = request.endpoint;
    const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : 'sha256');
    const referrer = referrerDescriptor(facts, digest, bytes.byteLength);
    const key = { name, subject: facts.subject };
    const listed = await this.#beside(request, () =>
      this.#tags.update(request, key, (entries) =>
        entries.some((entry) => entry.digest === digest) ? entries : [...entries, referrer],
      ),
    );
    // Without this header the client enters the manifest itself, as the specification asks it to.
    return listed === true
      ? { ...answer, headers: [...answer.headers, ['OCI-Subject', facts.subject]] }
      : answer;
  }

  async #delete(request: RegistryRequest<EndpointOf<'manifest'>>, digest: Digest): Promise<RegistryAnswer> {
    const subject = await this.#subjectOf(request, digest).catch((error: unknown) => {
      // An upstream that is away is not waited for a second time.
      if (isUpstreamAway(error) || !(error instanceof RegistryError)) throw error;
      return undefined;
    });
    const answer = await this.#registry.answer(request);
    if (!isSuccess(answer.status) || subject === undefined) return answer;
    await this.#beside(request, () =>
      this.#unlist(request, { name: request.endpoint.name, subject }, digest),
    );
    return answer;
  }

  async #subjectOf(
    request: RegistryRequest<EndpointOf<'manifest'>>,
    digest: Digest,
  ): Promise<Digest | undefined> {
    const { status, mediaType, bytes } = await this.#ask(request, request.endpoint);
    if (status !== 200 || digestOf(bytes, digestAlgorithm(digest)) !== digest) return undefined;
    return factsOf(bytes, mediaType)?.subject;
  }

  async #unlist(request: RegistryRequest, key: ReferrersKey, digest: Digest): Promise<void> {
    const endpoint = { kind: 'referrers', name: key.name, digest: key.subject } as const;
    if ((await this.#ask(request, endpoint)).status === 200) return; // it keeps the list itself
    await this.#tags.update(request, key, (entries) => {
      const kept = entries.filter((entry) => entry.digest !== digest);
      return kept.length === entries.length ? entries : kept;
    });
  }

  async #ask(origin: RegistryRequest, endpoint: Endpoint) {
    const headers = [['Accept', MANIFEST_MEDIA_TYPES.join(', ')]] as const;
    const answer = await this.#registry.answer(requestFor(origin, { endpoint, method: 'GET', headers }));
    const mediaType = headerValue(answer.headers, 'content-type');
    return { status: answer.status, mediaType, bytes: await bodyOf(answer) };
  }

  /** What is done beside a request does not make it fail. @returns undefined where it could not be done. */
  async #beside<T>(request: RegistryRequest, task: () => Promise<T>): Promise<T | undefined> {
    try {
      return await task();
    } catch (error) {
      request.signal.throwIfAborted();
      if (error instanceof RegistryError) return undefined;
      throw error;
    }
  }
}

/** undefined where the bytes are no manifest that we know: whether it may be pushed is the registry's to say. */
function factsOf(bytes: Uint8Array, contentType: string | undefined): ManifestFacts | undefined {
  try {
    return readManifest(bytes, contentType?.split(';')[0]?.trim().toLowerCase() || undefined);
  } catch (error) {
    if (error instanceof RegistryError) return undefined;
    throw error;
  }
}
