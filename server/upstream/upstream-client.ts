import { readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { type ConnectionOptions, rootCertificates } from 'node:tls';
import { Agent, type Dispatcher } from 'undici';
import { errorCode } from '../../schemas/process/system-error.ts';
import type { HeaderList, RegistryMethod } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { HostActivity, SilenceError, type Watch } from './host-activity.ts';
import { headerPairs, headerValue, withoutCredentials } from './headers.ts';
import { HomeDispatcher } from './home-dispatcher.ts';
import { Turnstile } from './turnstile.ts';
import type { UpstreamConfig } from './upstream-config.ts';

/** A registry redirects a blob once to its store; more than this is a loop. */
const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** A redirect's body is read to keep its connection, if it is this short. */
const MAX_DISCARDED_BYTES = 64 << 10;

export interface UpstreamRequest {
  readonly method: RegistryMethod;
  /** Absolute. Credentials among the headers go to this host alone. */
  readonly url: URL;
  readonly headers: HeaderList;
  readonly body?: Readable;
  readonly signal: AbortSignal;
}

export interface UpstreamResponse {
  readonly status: number;
  readonly headers: HeaderList;
  /** Read it to its end or destroy it. */
  readonly body: Dispatcher.ResponseData['body'];
}

/**
 * Talks HTTP to an upstream registry and to where it redirects. Bodies stream and are never decoded. Aborting
 * the signal ends the request at any stage.
 */
export class UpstreamClient {
  /** Without the bounds of `send`: for the upstream's token service. */
  readonly dispatcher: Dispatcher;
  readonly #agents: readonly Agent[];
  /** A connection beside the others, which may all be busy. */
  readonly #pings: Agent;
  #pinging = false;
  readonly #home: string;
  readonly #activity = new HostActivity();
  readonly #readTimeoutMs: number;
  /** From HTTPS on to plain HTTP. */
  readonly downgrades: boolean;
  readonly #turnstile: Turnstile;

  /** @throws where a file of certificates or keys cannot be read. */
  constructor(config: UpstreamConfig) {
    const read = (file: string | undefined) => (file === undefined ? undefined : readFileSync(file, 'utf8'));
    const ca = read(config.caFile);
    const trusted = ca === undefined ? {} : { ca: [...rootCertificates, ca] };
    const [cert, key] = [read(config.clientCertFile), read(config.clientKeyFile)];
    const own = cert === undefined || key === undefined ? {} : { cert, key };
    type Tls = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized'>;
    const agent = (tls: Tls, connections = config.connections) =>
      new Agent({
        connections,
        pipelining: 1,
        headersTimeout: config.headerTimeoutMs,
        bodyTimeout: config.idleTimeoutMs,
        connect: this.#activity.connector({ timeout: config.connectTimeoutMs, ...tls }),
      });
    // Our client certificate, and trust in any certificate, are for the upstream alone.
    const atHome = { ...trusted, ...own, rejectUnauthorized: !config.insecureSkipVerify };
    const home = agent(atHome);
    const elsewhere = agent(trusted);
    this.#pings = agent(atHome, 1);
    this.#home = new URL(config.url).origin;
    this.#agents = [home, elsewhere, this.#pings];
    this.dispatcher = new HomeDispatcher(this.#home, home, elsewhere);
    this.#readTimeoutMs = config.readTimeoutMs;
    this.downgrades = config.plainHttp;
    this.#turnstile = new Turnstile({
      atOnce: config.connections,
      perSecond: config.requestsPerSecond,
      waitLimitMs: config.waitLimitMs,
      nowMs: () => performance.now(),
    });
  }

  /**
   * Sends a request when its turn has come; the redirects of a GET or HEAD are followed, without credentials where
   * they leave the host.
   *
   * @throws {RegistryError} 'upstream-unreachable', 'upstream-timeout', 'upstream-protocol', 'upstream-busy'; the
   * signal's reason.
   */
  async send(request: UpstreamRequest): Promise<UpstreamResponse> {
    const leave = await this.#turnstile.enter(request.signal);
    try {
      const response = await this.#follow(request);
      response.body.once('close', leave);
      return response;
    } catch (error) {
      leave();
      throw error;
    }
  }

  async #follow(request: UpstreamRequest): Promise<UpstreamResponse> {
    const followed = request.method === 'GET' || request.method === 'HEAD';
    let { url, headers } = request;
    for (let hops = 0; ; hops += 1) {
      const response = await this.#once({ ...request, url, headers }, followed, followed);
      const location = headerValue(response.headers, 'location');
      if (!followed || !REDIRECTS.has(response.status) || location === undefined) return response;
      await discard(response);
      if (hops >= MAX_REDIRECTS) throw protocol('too many redirects');
      const next = URL.parse(location, url);
      if (next === null || (next.protocol !== 'http:' && next.protocol !== 'https:')) {
        throw protocol('a redirect to nowhere');
      }
      if (next.protocol === 'http:' && url.protocol === 'https:' && !this.downgrades) {
        throw protocol('a redirect from https to plain http');
      }
      if (next.origin !== url.origin) headers = withoutCredentials(headers);
      url = next;
    }
  }

  /** Ends every connection at once. */
  async close(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.destroy()));
  }

  async #once(request: UpstreamRequest, isRead: boolean, repeatable: boolean): Promise<UpstreamResponse> {
    const { method, url, headers, body, signal } = request;
    signal.throwIfAborted();
    const watch = this.#watch(request, isRead);
    try {
      const response = await this.dispatcher.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: headers.flat(),
        body: body ?? null,
        signal: watch === undefined ? signal : AbortSignal.any([signal, watch.signal]),
        responseHeaders: 'raw',
      });
      // With 'raw' undici hands out a flat list, which its type does not tell.
      const raw = response.headers as unknown as string[];
      // Whoever reads the body is told; without a listener an abort before that would end the process.
      response.body.on('error', () => undefined);
      return { status: response.statusCode, headers: headerPairs(raw), body: response.body };
    } catch (error) {
      signal.throwIfAborted();
      // A kept connection that the upstream closed just as we took it up.
      if (repeatable && isClosedSocket(error)) return this.#once(request, isRead, false);
      throw upstreamError(error);
    } finally {
      watch?.stop();
    }
  }

  /** A write may take its time, as long as the upstream answers anything at all: it is asked something meanwhile. */
  #watch({ url, body }: UpstreamRequest, isRead: boolean): Watch | undefined {
    if (isRead) return this.#activity.watch(url, this.#readTimeoutMs);
    if (url.origin !== this.#home) return undefined; // where uploads go elsewhere, little is known of it
    const nudge = (signal: AbortSignal) => void this.#ping(signal);
    return this.#activity.watch(url, this.#readTimeoutMs, { after: body, nudge });
  }

  async #ping(signal: AbortSignal): Promise<void> {
    if (this.#pinging) return;
    this.#pinging = true;
    try {
      const { body } = await this.#pings.request({ origin: this.#home, path: '/v2/', method: 'GET', signal });
      await body.dump();
    } catch {
      // That something was heard is all that counts.
    } finally {
      this.#pinging = false;
    }
  }
}

/** Lets go of a response that nobody wants. */
export async function discard(response: UpstreamResponse): Promise<void> {
  await response.body.dump({ limit: MAX_DISCARDED_BYTES }).catch(() => undefined);
}

function codeOf(error: unknown): string {
  return errorCode(error) ?? '';
}

function isClosedSocket(error: unknown): boolean {
  return ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'].includes(codeOf(error));
}

/** What a failure of undici's means. */
export function upstreamError(error: unknown): RegistryError {
  const code = codeOf(error);
  if (
    error instanceof SilenceError ||
    /^(?:UND_ERR_(?:CONNECT|HEADERS|BODY)_TIMEOUT|ETIMEDOUT)$/.test(code)
  ) {
    return new RegistryError({ kind: 'upstream-timeout' }, { cause: error });
  }
  if (/^(?:HPE_|UND_ERR_HEADERS_OVERFLOW|UND_ERR_RES)/.test(code)) {
    return new RegistryError(
      { kind: 'upstream-protocol', reason: 'not HTTP as it should be' },
      { cause: error },
    );
  }
  return new RegistryError({ kind: 'upstream-unreachable' }, { cause: error });
}

function protocol(reason: string): RegistryError {
  return new RegistryError({ kind: 'upstream-protocol', reason });
}
