import { createHmac, timingSafeEqual } from 'node:crypto';
import { parseEndpoint } from '../distribution/endpoint.ts';
import type { RepositoryName } from '../registry/repository-name.ts';

/** Begins a session that stands for another URL; no registry's own session may, so such ones are wrapped too. */
const WRAPPED = '~';
const MAC_BYTES = 16;
const MAX_SESSION_CHARS = 4096;

/**
 * Turns an upstream's `Location` of an upload into one on this proxy and back. The usual one,
 * `/v2/<name>/blobs/uploads/<session>?…` on the upstream itself, stays legible. A registry may choose any URL,
 * though, on another host even: such a URL becomes the session, with a MAC of a key that only this process
 * knows, so that nobody can have us send requests to a place that the upstream did not name.
 */
export class UploadLocations {
  readonly #origin: string;
  readonly #key: Uint8Array;
  readonly #secured: boolean;

  /** `plainHttp`: from an upstream by HTTPS, uploads may go on in the clear. */
  constructor(origin: string, key: Uint8Array, plainHttp = false) {
    this.#origin = origin;
    this.#key = key;
    this.#secured = origin.startsWith('https:') && !plainHttp;
  }

  /** The path (with query) for our client; undefined where `location` is no usable URL. */
  toClient(name: RepositoryName, location: string, requestUrl: URL): string | undefined {
    const url = this.#securedUrl(URL.parse(location, requestUrl));
    if (url === undefined) return undefined;
    if (url.origin === this.#origin && isOrdinary(url.pathname, name)) return `${url.pathname}${url.search}`;
    url.hash = '';
    const text = Buffer.from(url.href).toString('base64url');
    return `/v2/${name}/blobs/uploads/${WRAPPED}${text}.${this.#mac(name, text)}`;
  }

  /** A registry that does not know of the TLS before it names itself by plain HTTP: it is meant as it is reached. */
  #securedUrl(url: URL | null): URL | undefined {
    if (url?.protocol === 'https:' || (url?.protocol === 'http:' && !this.#secured)) return url;
    const { host, origin } = new URL(this.#origin);
    if (url?.protocol !== 'http:' || url.host !== host) return undefined;
    return new URL(`${origin}${url.pathname}${url.search}`);
  }

  /** The upstream's URL of a wrapped session; undefined where it is none of ours; `query` is what the client added. */
  toUpstream(name: RepositoryName, session: string, query: string): URL | undefined {
    const match = /^~([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/.exec(session);
    const [, text = '', mac = ''] = match ?? [];
    if (match === null || session.length > MAX_SESSION_CHARS) return undefined;
    const expected = Buffer.from(this.#mac(name, text));
    const given = Buffer.from(mac);
    if (given.byteLength !== expected.byteLength || !timingSafeEqual(given, expected)) return undefined;
    const url = URL.parse(Buffer.from(text, 'base64url').toString());
    if (url === null) return undefined;
    url.search = [url.search.slice(1), query].filter((part) => part !== '').join('&');
    return url;
  }

  #mac(name: RepositoryName, text: string): string {
    const mac = createHmac('sha256', this.#key).update(`${name}\n${text}`).digest();
    return mac.subarray(0, MAC_BYTES).toString('base64url');
  }
}

/** True of a session in the form in which we wrap URLs. */
export function isWrapped(session: string): boolean {
  return session.startsWith(WRAPPED);
}

function isOrdinary(pathname: string, name: RepositoryName): boolean {
  try {
    const endpoint = parseEndpoint(pathname);
    return endpoint?.kind === 'upload' && endpoint.name === name && !isWrapped(endpoint.session);
  } catch {
    return false; // the name in it is none that we know
  }
}
