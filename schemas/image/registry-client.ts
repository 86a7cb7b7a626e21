import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, type Dispatcher, request } from 'undici';
import { firstError } from '../body/error-body.ts';
import { readStart } from '../body/read-body.ts';
import { isLoopback, registryHost } from '../oci/host.ts';
import type { CredentialSource } from '../registry-auth/credentials.ts';
import { RegistryAuth, type TokenScope } from '../registry-auth/registry-auth.ts';
import { RegistryAuthError } from '../registry-auth/registry-auth-error.ts';
import type { ClientTls } from '../tls/client-tls.ts';
import { ImageError } from './image-error.ts';

export interface RegistryClientOptions {
  readonly credentials: CredentialSource;
  /** Plain HTTP, and HTTPS without a known certificate, are allowed; on loopback HTTP is what is spoken, but where `tls` is given. */
  readonly insecure: boolean;
  /** Whom to trust, and who we are; undefined trusts the public authorities. */
  readonly tls?: ClientTls | undefined;
}

/** A request whose body, if it has one, can be made again. */
export interface RegistryRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT';
  /** Below the registry's root, or where the registry itself pointed to. */
  readonly target: string | URL;
  /** Token scopes, blank between them: `repository:library/redis:pull`. */
  readonly scope: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: () => AsyncIterable<Uint8Array> | Uint8Array;
  /** Not to be sent again as it is: what a broken attempt left behind would be in the way. */
  readonly once?: boolean;
}

export type RegistryResponse = Dispatcher.ResponseData;

const MAX_ATTEMPTS = 5;
const MAX_REDIRECTS = 5;
const FIRST_DELAY_MS = 250;
const MAX_DELAY_MS = 60_000;
const HEADERS_TIMEOUT_MS = 60_000;
const BODY_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 8;
const MAX_ERROR_BYTES = 64 * 1024;
const MAX_ERROR_CHARS = 500;
/** Answers that another attempt may better. */
export const RETRIED = new Set([408, 429, 500, 502, 503, 504]);

/** RFC 9110 section 10.2.3: seconds or a date. Nothing when it is absent or unreadable. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - nowMs);
}

/** Speaks HTTP to one registry: scheme, authentication, redirects and repeated attempts are its affair. */
export class RegistryClient implements AsyncDisposable {
  readonly host: string;
  readonly #auth: RegistryAuth;
  readonly #credentials: CredentialSource;
  readonly #agent: Agent;
  readonly #insecure: boolean;
  /** Files for TLS were given: then loopback is no exception to HTTPS. */
  readonly #secured: boolean;
  #root: URL | undefined;

  constructor(host: string, options: RegistryClientOptions) {
    this.host = host;
    this.#insecure = options.insecure;
    this.#secured = Object.keys(options.tls ?? {}).length > 0;
    this.#agent = new Agent({
      connections: MAX_CONNECTIONS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: BODY_TIMEOUT_MS,
      connect: { timeout: CONNECT_TIMEOUT_MS, rejectUnauthorized: !options.insecure, ...options.tls },
    });
    this.#credentials = options.credentials;
    this.#auth = new RegistryAuth({
      dispatcher: this.#agent,
      timeoutMs: HEADERS_TIMEOUT_MS,
      nowMs: () => Date.now(),
      access: 'own',
      insecure: options.insecure,
    });
  }

  /**
   * Sends, and again where that may help: after 408, 429 and 5xx (waiting as `Retry-After` says), after a
   * broken connection, and once after 401 with the challenge answered. Any other answer is returned; its body
   * has to be read or dumped.
   *
   * @throws {ImageError} `unreachable`, `unauthorized` or `denied`
   */
  async send(message: RegistryRequest, signal: AbortSignal): Promise<RegistryResponse> {
    const root = await this.#findRoot(signal);
    const maxAttempts = message.once === true ? 1 : MAX_ATTEMPTS;
    let authenticated = false;
    for (let attempt = 1; ; attempt += 1) {
      let response: RegistryResponse;
      try {
        response = await this.#exchange(message, new URL(message.target, root), signal);
      } catch (cause) {
        signal.throwIfAborted();
        if (cause instanceof ImageError) throw cause;
        if (attempt >= maxAttempts) throw this.#unreachable(cause);
        await sleep(FIRST_DELAY_MS * 2 ** (attempt - 1), undefined, { signal });
        continue;
      }
      const { statusCode, headers } = response;
      if (statusCode === 401 && !authenticated) {
        await response.body.dump();
        await this.#authenticate(message.scope, headers['www-authenticate'], signal);
        authenticated = true;
        continue;
      }
      if (statusCode === 401 || statusCode === 403) throw this.#denied(statusCode, await errorText(response));
      if (!RETRIED.has(statusCode) || attempt >= maxAttempts) return response;
      const header = headers['retry-after'];
      await response.body.dump();
      const asked = retryAfterMs(typeof header === 'string' ? header : undefined, Date.now());
      const delayMs = asked ?? FIRST_DELAY_MS * 2 ** (attempt - 1);
      await sleep(Math.min(delayMs, MAX_DELAY_MS), undefined, { signal });
    }
  }

  /** As {@link send}, where only these statuses are expected. @throws {ImageError} also `refused`, `not-found` */
  async expect(
    message: RegistryRequest,
    statuses: readonly number[],
    signal: AbortSignal,
  ): Promise<RegistryResponse> {
    const response = await this.send(message, signal);
    if (statuses.includes(response.statusCode)) return response;
    const status = response.statusCode;
    const text = await errorText(response);
    const path = String(message.target).replace(/\?.*$/, '');
    if (status === 404) {
      throw new ImageError({ kind: 'not-found', what: path }, `${this.host} has no ${path}${text}`);
    }
    throw new ImageError(
      { kind: 'refused', host: this.host, status },
      `${this.host} answered ${status} to ${message.method} ${path}${text}`,
    );
  }

  /** The registry's own root, for resolving what it points to. */
  async root(signal: AbortSignal): Promise<URL> {
    return await this.#findRoot(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  async #exchange(message: RegistryRequest, start: URL, signal: AbortSignal): Promise<RegistryResponse> {
    const home = start;
    let url = start;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
      // Credentials are for the registry alone: a redirect to a storage host carries none.
      const authorization =
        url.origin === home.origin ? this.#auth.known(this.#scope(message.scope)) : undefined;
      const body = message.body?.();
      const response = await request(url, {
        method: message.method,
        headers: { ...message.headers, ...(authorization === undefined ? {} : { authorization }) },
        body: body === undefined || body instanceof Uint8Array ? (body ?? null) : Readable.from(body),
        dispatcher: this.#agent,
        signal,
      });
      const { statusCode, headers } = response;
      const { location } = headers;
      const redirected = statusCode === 301 || statusCode === 302 || statusCode === 307 || statusCode === 308;
      if (!redirected || typeof location !== 'string') return response;
      await response.body.dump();
      const next = new URL(location, url);
      if (next.protocol === 'http:' && url.protocol === 'https:' && !this.#insecure) {
        throw this.#denied(statusCode, 'it redirects from HTTPS to HTTP');
      }
      url = next;
    }
    throw this.#denied(310, 'it redirects too often');
  }

  #scope(access: string): TokenScope {
    return { host: this.host, access, credentials: (signal) => this.#credentials(this.host, signal) };
  }

  async #authenticate(
    access: string,
    challenge: string | readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      await this.#auth.answer(this.#scope(access), challenge, signal);
    } catch (cause) {
      if (!(cause instanceof RegistryAuthError)) throw cause;
      if (cause.kind !== 'unauthorized') throw this.#unreachable(cause);
      const fault = { kind: 'unauthorized', host: this.host } as const;
      throw new ImageError(fault, `${this.host} does not let us in: ${cause.message}`, { cause });
    }
  }

  async #findRoot(signal: AbortSignal): Promise<URL> {
    if (this.#root !== undefined) return this.#root;
    const host = registryHost(this.host);
    if (isLoopback(host) && !this.#secured) this.#root = new URL(`http://${host}`);
    else if (!this.#insecure) this.#root = new URL(`https://${host}`);
    else this.#root = await this.#probe(host, signal);
    return this.#root;
  }

  async #probe(host: string, signal: AbortSignal): Promise<URL> {
    const https = new URL(`https://${host}`);
    try {
      const response = await request(new URL('/v2/', https), { dispatcher: this.#agent, signal });
      await response.body.dump();
      return https;
    } catch {
      signal.throwIfAborted();
      return new URL(`http://${host}`);
    }
  }

  #unreachable(cause: unknown): ImageError {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return new ImageError({ kind: 'unreachable', host: this.host }, `cannot reach ${this.host}: ${reason}`, {
      cause,
    });
  }

  #denied(status: number, reason: string): ImageError {
    return new ImageError(
      { kind: status === 401 ? 'unauthorized' : 'denied', host: this.host },
      `${this.host} does not allow it (${status})${reason.startsWith(':') ? reason : `: ${reason}`}`,
    );
  }
}

/** What a registry says in an error's body, capped: `: CODE message`. */
async function errorText(response: RegistryResponse): Promise<string> {
  const text = await readStart(response.body, MAX_ERROR_BYTES);
  const { code, message } = firstError(text);
  const told = code === undefined ? text : `${code} ${message ?? ''}`.trimEnd();
  return told === '' ? '' : `: ${told.slice(0, MAX_ERROR_CHARS)}`;
}
