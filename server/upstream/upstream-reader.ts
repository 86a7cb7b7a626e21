import { addAbortSignal, Readable } from 'node:stream';
import { readWhole } from '../../schemas/body/read-body.ts';
import {
  type BlobRange,
  type CallerAuthorization,
  type RegistryBlob,
  type RegistryManifest,
  RegistryReadError,
  type RegistryReadFault,
  type RegistryReader,
} from '../../extensions/starlight/registry-reader.ts';
import { fallbackTag } from '../../schemas/image/referrers-index.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../schemas/oci/digest.ts';
import { MANIFEST_MEDIA_TYPES, MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { isTag } from '../../schemas/oci/reference.ts';
import { type Descriptor, DocumentError, parseIndex } from '../../schemas/oci/types.ts';
import type { EndpointOf, HeaderList, Registry } from '../registry/registry.ts';
import { RegistryError, type RegistryFault } from '../registry/registry-error.ts';
import { ownedBytes } from '../registry/owned-bytes.ts';
import { repositoryName } from '../registry/repository-name.ts';
import { type OwnRequest, ownRequest } from '../registry/request-for.ts';
import { headerValue, headerValues, nextLink } from './headers.ts';
import { upstreamError } from './upstream-client.ts';

/** Manifests, indexes and lists of referrers are read whole up to this. */
const MAX_DOCUMENT_BYTES = 4 << 20;
const MAX_REFERRER_PAGES = 100;

/** An answer, of the upstream or of what stands before it. */
interface Answered {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body: Readable;
}

export interface UpstreamReaderOptions {
  /**
   * Answers for tags and lists of referrers: the upstream itself, whatever is kept of it. Whoever notifies of a tag
   * means what it is now.
   */
  readonly asked: Registry;
  /** Answers for what a digest names: the upstream with what keeps its blobs and manifests before it. */
  readonly kept: Registry;
}

/** Reads an upstream registry with the caller's own credentials, or with the proxy's where it has some there. */
export class UpstreamReader implements RegistryReader {
  readonly #asked: Registry;
  readonly #kept: Registry;

  constructor({ asked, kept }: UpstreamReaderOptions) {
    this.#asked = asked;
    this.#kept = kept;
  }

  async manifest(
    name: string,
    reference: string,
    auth: CallerAuthorization,
    signal: AbortSignal,
  ): Promise<RegistryManifest | undefined> {
    const repository = repositoryName(name);
    if (repository === undefined || !(isDigest(reference) || isTag(reference))) return undefined;
    const response = await read(
      isDigest(reference) ? this.#kept : this.#asked,
      {
        endpoint: { kind: 'manifest', name: repository, reference },
        headers: [['Accept', MANIFEST_MEDIA_TYPES.join(', ')]],
      },
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
    const endpoint = { kind: 'blob', name: repository, digest } as const;
    const response = await read(this.#kept, { endpoint, headers }, auth, signal);
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
    let query = new URLSearchParams(artifactType === undefined ? {} : { artifactType });
    for (let page = 0; page < MAX_REFERRER_PAGES; page += 1) {
      const endpoint = { kind: 'referrers', name: repository, digest } as const;
      const headers: HeaderList = [['Accept', MEDIA_TYPE.ociIndex]];
      const response = await read(this.#asked, { endpoint, query, headers }, auth, signal);
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
      query = new URLSearchParams(URL.parse(next, 'http://proxy.invalid')?.search);
    }
    return artifactType === undefined ? found : found.filter((one) => one.artifactType === artifactType);
  }
}

/** @returns undefined for 404. */
async function read(
  registry: Registry,
  { headers = [], ...asked }: Omit<OwnRequest<EndpointOf<'blob' | 'manifest' | 'referrers'>>, 'method'>,
  auth: CallerAuthorization,
  signal: AbortSignal,
): Promise<Answered | undefined> {
  const sent: HeaderList = [...headers, ...(auth === undefined ? [] : ([['Authorization', auth]] as const))];
  signal.throwIfAborted();
  let answered: Answered;
  try {
    const request = ownRequest({ ...asked, method: 'GET', headers: sent }, signal);
    const { status, headers: told, body = new Uint8Array() } = await registry.answer(request);
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

async function document(response: Answered, signal: AbortSignal): Promise<Uint8Array> {
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
  const { fault } = error instanceof RegistryError ? error : upstreamError(error);
  const message = `the registry cannot be read: ${fault.kind}`;
  return new RegistryReadError(readFault(fault), message, { cause: error });
}

function readFault(fault: RegistryFault): RegistryReadFault {
  switch (fault.kind) {
    case 'upstream-denied':
      return { kind: 'denied' };
    case 'upstream-protocol':
      return { kind: 'protocol' };
    case 'upstream-withheld':
      return { kind: 'unavailable', status: fault.status, retryAfter: String(fault.retryAfterSeconds) };
    case 'upstream-busy':
      return { kind: 'unavailable', status: 429, retryAfter: String(fault.retryAfterSeconds) };
    default:
      return { kind: 'unavailable' };
  }
}

function protocol(message: string): RegistryReadError {
  return new RegistryReadError({ kind: 'protocol' }, message);
}
