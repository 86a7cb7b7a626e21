import { addAbortSignal, Readable } from 'node:stream';
import { readWhole } from '../../schemas/body/read-body.ts';
import {
  type BlobRange,
  type CallerAuthorization,
  type RegistryBlob,
  type RegistryManifest,
  RegistryReadError,
  type RegistryReader,
} from '../../extensions/starlight/registry-reader.ts';
import { fallbackTag } from '../../schemas/image/referrers-index.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../schemas/oci/digest.ts';
import { MANIFEST_MEDIA_TYPES, MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { isTag } from '../../schemas/oci/reference.ts';
import { type Descriptor, DocumentError, parseIndex } from '../../schemas/oci/types.ts';
import { endpointPath } from '../distribution/endpoint.ts';
import type { EndpointOf, HeaderList, Registry } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { ownedBytes } from '../registry/owned-bytes.ts';
import { repositoryName } from '../registry/repository-name.ts';
import { ownRequest } from '../registry/request-for.ts';
import type { AuthorisingClient } from './authorising-client.ts';
import { headerValue, headerValues, nextLink } from './headers.ts';
import { discard, type UpstreamResponse, upstreamError } from './upstream-client.ts';

/** Manifests, indexes and lists of referrers are read whole up to this. */
const MAX_DOCUMENT_BYTES = 4 << 20;
const MAX_REFERRER_PAGES = 100;

/** An answer, of the upstream or of what stands before it. */
interface Answered {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Readable;
}

/** Reads an upstream registry with the caller's own credentials, or with the proxy's where it has some there. */
export class UpstreamReader implements RegistryReader {
  readonly #client: AuthorisingClient;
  readonly #base: URL;
  readonly #blobs: Registry;

  /**
   * @param blobs answers for blobs: the upstream with what keeps its blobs before it, so that it sends each once. What
   * a tag names is always asked of the upstream itself: whoever notifies of a tag means what it is now.
   */
  constructor(url: string, client: AuthorisingClient, blobs: Registry) {
    this.#client = client;
    this.#base = new URL(url);
    this.#blobs = blobs;
  }

  async manifest(
    name: string,
    reference: string,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryManifest | undefined> {
    const repository = repositoryName(name);
    if (repository === undefined || !(isDigest(reference) || isTag(reference))) return undefined;
    const response = await this.#get(
      { kind: 'manifest', name: repository, reference },
      '',
      [['Accept', MANIFEST_MEDIA_TYPES.join(', ')]],
      auth,
      signal,
    );
    if (response === undefined) return undefined;
    const bytes = await document(response, signal);
    const told = headerValue(response.headers, 'docker-content-digest');
    const expected = isDigest(reference) ? reference : isDigest(told) ? told : undefined;
    const digest = digestOf(bytes, expected === undefined ? 'sha256' : digestAlgorithm(expected));
    if (expected !== undefined && digest !== expected) {
      throw protocol(`a manifest of ${digest} was sent for ${expected}`);
    }
    const mediaType = headerValue(response.headers, 'content-type')?.split(';')[0]?.trim() ?? '';
    return { digest, mediaType, bytes };
  }

  async blob(
    name: string,
    digest: Digest,
    range: BlobRange | undefined,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryBlob | undefined> {
    const repository = repositoryName(name);
    if (repository === undefined) return undefined;
    if (range?.length === 0) return { sizeBytes: 0, bytes: emptyBytes() };
    const end = range === undefined ? 0 : range.offset + range.length - 1;
    const headers: HeaderList = range === undefined ? [] : [['Range', `bytes=${range.offset}-${end}`]];
    const response = await this.#blob({ kind: 'blob', name: repository, digest }, headers, auth, signal);
    if (response === undefined) return undefined;
    const sizeBytes = Number(headerValue(response.headers, 'content-length') ?? Number.NaN);
    try {
      if (range === undefined) {
        if (!Number.isSafeInteger(sizeBytes)) throw protocol('a blob was sent without its size');
        return { sizeBytes, bytes: exactly(response, sizeBytes, signal) };
      }
      const whole = response.status === 200 && range.offset === 0 && sizeBytes === range.length;
      const told = headerValue(response.headers, 'content-range') ?? '';
      if (!whole && !(response.status === 206 && told.startsWith(`bytes ${range.offset}-${end}/`))) {
        throw protocol(`a range was asked for and ${response.status} ${told} was the answer`);
      }
      return { sizeBytes: range.length, bytes: exactly(response, range.length, signal) };
    } catch (error) {
      response.body.destroy();
      throw error;
    }
  }

  async referrers(
    name: string,
    digest: Digest,
    artifactType: string | undefined,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<readonly Descriptor[]> {
    const repository = repositoryName(name);
    if (repository === undefined) return [];
    const found: Descriptor[] = [];
    let query = artifactType === undefined ? '' : `artifactType=${encodeURIComponent(artifactType)}`;
    for (let page = 0; page < MAX_REFERRER_PAGES; page += 1) {
      const endpoint = { kind: 'referrers', name: repository, digest } as const;
      const response = await this.#get(endpoint, query, [['Accept', MEDIA_TYPE.ociIndex]], auth, signal);
      if (response === undefined) {
        if (page > 0) throw protocol('a page of referrers is missing');
        // distribution-spec, "Unavailable referrers API": the clients keep the list under this tag.
        const fallback = await this.manifest(name, fallbackTag(digest), auth, signal);
        if (fallback !== undefined) found.push(...index(fallback.bytes));
        break;
      }
      found.push(...index(await document(response, signal)));
      const next = nextLink(response.headers);
      if (next === undefined) break;
      query = URL.parse(next, this.#base)?.search.slice(1) ?? '';
    }
    return artifactType === undefined ? found : found.filter((one) => one.artifactType === artifactType);
  }

  /** undefined for 404. */
  async #blob(
    endpoint: EndpointOf<'blob'>,
    headers: HeaderList,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<Answered | undefined> {
    const sent: HeaderList = [
      ...headers,
      ...(auth === undefined ? [] : ([['Authorization', auth]] as const)),
    ];
    signal.throwIfAborted();
    let answered: Answered;
    try {
      const request = ownRequest({ endpoint, method: 'GET', headers: sent }, signal);
      const { status, headers: told, body = new Uint8Array() } = await this.#blobs.answer(request);
      const stream = body instanceof Readable ? body : Readable.from([body], { objectMode: false });
      // Whoever reads is told of an error; without a reader nobody is, and that is no fault.
      stream.on('error', () => undefined);
      // What is kept on disk knows nothing of the signal.
      answered = { status, headers: told, body: addAbortSignal(signal, stream) };
    } catch (error) {
      signal.throwIfAborted();
      throw readError(error);
    }
    if (answered.status === 200 || answered.status === 206) return answered;
    answered.body.destroy();
    return refusal(answered);
  }

  /** undefined for 404. */
  async #get(
    endpoint: EndpointOf<'blob' | 'manifest' | 'referrers'>,
    query: string,
    headers: HeaderList,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<UpstreamResponse | undefined> {
    const url = new URL(`${endpointPath(endpoint)}${query === '' ? '' : `?${query}`}`, this.#base);
    const credentials: HeaderList = auth === undefined ? [] : [['Authorization', auth]];
    let response: UpstreamResponse;
    try {
      const request = { method: 'GET', url, headers: [...headers, ...credentials], signal } as const;
      response = await this.#client.send(request, `repository:${endpoint.name}:pull`);
    } catch (error) {
      signal.throwIfAborted();
      throw readError(error);
    }
    if (response.status === 200 || response.status === 206) return response;
    await discard(response);
    return refusal(response);
  }
}

function refusal({ status, headers }: Pick<Answered, 'status' | 'headers'>): undefined {
  if (status === 404) return undefined;
  if (status === 401) {
    const challenges = headerValues(headers, 'www-authenticate');
    throw new RegistryReadError({ kind: 'unauthorized', challenges }, 'the registry asks for credentials');
  }
  if (status === 403) throw new RegistryReadError({ kind: 'denied' }, 'the registry denies access');
  if (status === 429 || status >= 500) {
    const retryAfter = headerValue(headers, 'retry-after');
    throw new RegistryReadError(
      { kind: 'unavailable', status, ...(retryAfter === undefined ? {} : { retryAfter }) },
      `the registry answered ${status}`,
    );
  }
  throw protocol(`the registry answered ${status}`);
}

async function document(response: UpstreamResponse, signal: AbortSignal): Promise<Uint8Array> {
  try {
    return await readWhole(response.body, MAX_DOCUMENT_BYTES, () =>
      protocol(`a document of more than ${MAX_DOCUMENT_BYTES} bytes`),
    );
  } catch (error) {
    signal.throwIfAborted();
    throw readError(error);
  }
}

function index(bytes: Uint8Array): Descriptor[] {
  try {
    return parseIndex(bytes).manifests;
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new RegistryReadError({ kind: 'protocol' }, `the list of referrers is ${error.message}`, {
      cause: error,
    });
  }
}

/** The body, which must have exactly the size announced. */
function exactly(response: Answered, sizeBytes: number, signal: AbortSignal): AsyncIterable<Uint8Array> {
  return ownedBytes(response.body, counted(response, sizeBytes, signal));
}

async function* counted(
  response: Answered,
  sizeBytes: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let seenBytes = 0;
  try {
    for await (const chunk of response.body) {
      seenBytes += chunk.byteLength;
      if (seenBytes > sizeBytes) throw protocol('more bytes were sent than announced');
      yield chunk;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw readError(error);
  }
  if (seenBytes < sizeBytes) throw protocol('fewer bytes were sent than announced');
}

async function* emptyBytes(): AsyncGenerator<Uint8Array> {}

function readError(error: unknown): unknown {
  if (error instanceof RegistryReadError) return error;
  const known = error instanceof RegistryError ? error : upstreamError(error);
  const { kind: told } = known.fault;
  const kind =
    told === 'upstream-denied' ? 'denied' : told === 'upstream-protocol' ? 'protocol' : 'unavailable';
  return new RegistryReadError({ kind }, `the registry cannot be read: ${known.fault.kind}`, {
    cause: error,
  });
}

function protocol(message: string): RegistryReadError {
  return new RegistryReadError({ kind: 'protocol' }, message);
}
