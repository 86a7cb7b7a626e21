import { randomBytes } from 'node:crypto';
import { readWhole } from '../../schemas/body/read-body.ts';
import { endpointPath } from '../distribution/endpoint.ts';
import { errorAnswer, ociErrorOf } from '../errors.ts';
import type {
  Endpoint,
  HeaderList,
  Registry,
  RegistryAnswer,
  RegistryRequest,
} from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { repositoryName } from '../registry/repository-name.ts';
import type { AuthorisingClient } from './authorising-client.ts';
import { requestHeaders, responseHeaders, withoutCredentials } from './headers.ts';
import { shieldedBody } from './shielded-body.ts';
import { isWrapped, UploadLocations } from './upload-location.ts';
import { discard, type UpstreamClient, type UpstreamResponse, upstreamError } from './upstream-client.ts';

/** An error's body is passed on up to this size. */
export const MAX_ERROR_BODY_BYTES = 64 << 10;

/**
 * Passes every request on to an upstream registry and its answer back, both streaming. Only what names the
 * upstream's own address is changed: `Location` and `Link` lead back through us.
 */
export class UpstreamRegistry implements Registry {
  readonly #client: UpstreamClient;
  readonly #authorised: AuthorisingClient;
  readonly #base: URL;
  readonly #locations: UploadLocations;

  /** `key` is what wrapped upload locations are authenticated with; replicas that share one share uploads. */
  constructor(
    url: string,
    client: UpstreamClient,
    authorised: AuthorisingClient,
    key: Uint8Array = randomBytes(32),
  ) {
    this.#client = client;
    this.#authorised = authorised;
    this.#base = new URL(url);
    this.#locations = new UploadLocations(this.#base.origin, key, client.downgrades);
  }

  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    try {
      return await this.#pass(request);
    } catch (error) {
      if (!(error instanceof RegistryError) || error.fault.kind !== 'upstream-denied') throw error;
      // To whoever stands before this one, an answer like the upstream's own refusals.
      const { body, ...rest } = errorAnswer(ociErrorOf(error));
      return request.method === 'HEAD' || body === undefined ? rest : { ...rest, body };
    }
  }

  async #pass(request: RegistryRequest): Promise<RegistryAnswer> {
    const hasBody =
      request.headers['transfer-encoding'] !== undefined ||
      Number(request.headers['content-length'] ?? 0) > 0;
    const url = this.#urlOf(request);
    const headers = requestHeaders(request.rawHeaders, hasBody);
    const { method, signal } = request;
    const sent = { method, url, headers, signal, ...(hasBody ? { body: shieldedBody(request.body) } : {}) };
    // A wrapped location may be on another host: no credentials are for that one.
    const response =
      url.origin === this.#base.origin
        ? await this.#authorised.send(sent, accessOf(request))
        : await this.#client.send({ ...sent, headers: withoutCredentials(headers) });
    const { status } = response;
    const back = this.#rewritten(request.endpoint, url, status, responseHeaders(response.headers));
    if (request.method === 'HEAD' || response.status === 204 || response.status === 304) {
      await discard(response);
      return { status: response.status, headers: back };
    }
    if (response.status >= 400) return cappedError(response, back, request.signal);
    return { status: response.status, headers: back, body: response.body };
  }

  #urlOf(request: RegistryRequest): URL {
    const { endpoint, rawQuery } = request;
    const query = rawQuery
      .split('&')
      .filter((part) => part !== '' && !/^ns(?:=|$)/.test(part))
      .join('&');
    if (endpoint.kind === 'upload' && isWrapped(endpoint.session)) {
      const url = this.#locations.toUpstream(endpoint.name, endpoint.session, query);
      if (url === undefined) {
        throw new RegistryError({ kind: 'upload-unknown', session: endpoint.session.slice(0, 80) });
      }
      return url;
    }
    return new URL(`${endpointPath(endpoint)}${query === '' ? '' : `?${query}`}`, this.#base);
  }

  #rewritten(endpoint: Endpoint, url: URL, status: number, headers: HeaderList): HeaderList {
    return headers.map(([name, value]) => {
      const lower = name.toLowerCase();
      if (lower === 'location') return [name, this.#location(endpoint, url, status, value)] as const;
      if (lower === 'link') return [name, this.#link(url, value)] as const;
      return [name, value] as const;
    });
  }

  #location(endpoint: Endpoint, url: URL, status: number, value: string): string {
    if (endpoint.kind === 'upload' || endpoint.kind === 'uploads') {
      const target = URL.parse(value, url);
      // A finished upload's Location is that of the blob.
      if (target?.origin === this.#base.origin && /\/blobs\/[a-z0-9+._-]+:[0-9a-f]+$/.test(target.pathname)) {
        return `${target.pathname}${target.search}`;
      }
      const path = this.#locations.toClient(endpoint.name, value, url);
      if (path !== undefined) return path;
      // A client that followed it would send its upload, and its credentials, past us.
      if (status === 202) {
        throw new RegistryError({ kind: 'upstream-protocol', reason: 'an upload is to go where it may not' });
      }
      return value;
    }
    return this.#pathOf(url, value);
  }

  #link(url: URL, value: string): string {
    return value.replace(/<([^>]*)>/g, (_, target: string) => `<${this.#pathOf(url, target)}>`);
  }

  /** A URL on the upstream as a path on us; any other as it is. */
  #pathOf(url: URL, text: string): string {
    const target = URL.parse(text, url);
    return target?.origin === this.#base.origin ? `${target.pathname}${target.search}` : text;
  }
}

/** The access that a request needs, as token services have it (the distribution project's "Token Scope Documentation"). */
function accessOf({ endpoint, method, query }: RegistryRequest): string {
  if (endpoint.kind === 'base') return '';
  const actions =
    method === 'GET' || method === 'HEAD' ? 'pull' : method === 'DELETE' ? 'delete' : 'pull,push';
  const access = `repository:${endpoint.name}:${actions}`;
  const from = endpoint.kind === 'uploads' ? repositoryName(query.get('from') ?? '') : undefined;
  return from === undefined ? access : `${access} repository:${from}:pull`;
}

/**
 * Error bodies are kept, up to a limit; a longer one is replaced, since half of a document is none.
 *
 * @throws {RegistryError} where it breaks off; the signal's reason.
 */
async function cappedError(
  response: UpstreamResponse,
  headers: HeaderList,
  signal: AbortSignal,
): Promise<RegistryAnswer> {
  const tooLarge = new RegistryError({ kind: 'upstream-protocol', reason: 'an error that has no end' });
  try {
    const body = await readWhole(response.body, MAX_ERROR_BODY_BYTES, () => tooLarge);
    return {
      status: response.status,
      headers: [
        ...headers.filter(([name]) => name.toLowerCase() !== 'content-length'),
        ['Content-Length', String(body.byteLength)],
      ],
      body,
    };
  } catch (error) {
    signal.throwIfAborted();
    if (error !== tooLarge) throw upstreamError(error);
    const message = `the upstream's error of more than ${MAX_ERROR_BODY_BYTES} bytes was left out`;
    const kept = headers.filter(([name]) => !/^content-(?:type|length|encoding)$/i.test(name));
    return errorAnswer({ status: response.status, code: 'UNKNOWN', message, headers: kept });
  }
}
