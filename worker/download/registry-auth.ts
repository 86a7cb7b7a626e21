import { type Dispatcher, request } from 'undici';
import { type Challenge, parseChallenge } from './challenge.ts';
import { basicAuthorization, type Credentials } from './docker-config.ts';
import { DownloadError } from './download-error.ts';

/** Which registry, and whose credentials are asked for it when it wants some. */
export type AuthScope = {
  readonly host: string;
  readonly repository: string;
  readonly credentials: () => Promise<Credentials | undefined>;
};

export type RegistryAuthOptions = {
  readonly dispatcher: Dispatcher;
  readonly timeoutMs: number;
  readonly nowMs: () => number;
};

type Token = { readonly authorization: string; readonly expiresMs: number };

/** Docker's token specification: without `expires_in` a token lives for 60 seconds. */
const DEFAULT_LIFETIME_S = 60;
/** Renewed this long before it ends, at most half its life. */
const MARGIN_MS = 10_000;
const MAX_TOKENS = 256;
const MAX_ANSWER_BYTES = 256 * 1024;

/**
 * The `Authorization` header for a registry that is reached through the proxy: none until it is challenged, then
 * what the challenge asks for. Tokens are kept until shortly before they expire.
 */
export class RegistryAuth {
  readonly #options: RegistryAuthOptions;
  readonly #tokens = new Map<string, Token>();

  constructor(options: RegistryAuthOptions) {
    this.#options = options;
  }

  /** What is known to work for this scope already. */
  known(scope: AuthScope): string | undefined {
    const token = this.#tokens.get(keyOf(scope));
    if (token === undefined) return undefined;
    if (token.expiresMs > this.#options.nowMs()) return token.authorization;
    this.#tokens.delete(keyOf(scope));
    return undefined;
  }

  /** Forgets what was refused. */
  forget(scope: AuthScope): void {
    this.#tokens.delete(keyOf(scope));
  }

  /**
   * Meets a challenge (the `WWW-Authenticate` header of a 401).
   * @throws {DownloadError} `unauthorized` when there is nothing to meet it with.
   */
  async answer(scope: AuthScope, header: string | undefined, signal: AbortSignal): Promise<string> {
    const challenge = header === undefined ? undefined : parseChallenge(header);
    const credentials = await scope.credentials();
    const where = scope.host === '' ? 'the registry' : scope.host;
    if (challenge === undefined) {
      throw new DownloadError('unauthorized', `${where} wants a kind of login that is not supported`);
    }
    if (challenge.scheme === 'basic') {
      if (credentials === undefined) {
        throw new DownloadError(
          'unauthorized',
          `${where} wants a login for ${scope.repository}: none is known`,
        );
      }
      return this.#keep(scope, { authorization: basicAuthorization(credentials), expiresMs: Infinity });
    }
    return this.#keep(scope, await this.#fetchToken(scope, challenge, credentials, signal));
  }

  #keep(scope: AuthScope, token: Token): string {
    if (this.#tokens.size >= MAX_TOKENS) this.#tokens.clear();
    this.#tokens.set(keyOf(scope), token);
    return token.authorization;
  }

  async #fetchToken(
    scope: AuthScope,
    challenge: Extract<Challenge, { scheme: 'bearer' }>,
    credentials: Credentials | undefined,
    signal: AbortSignal,
  ): Promise<Token> {
    const url = new URL(challenge.realm);
    if (credentials !== undefined && !maySendPassword(url, scope.host)) {
      throw new DownloadError('unauthorized', `the token service ${url.host} is not asked in the clear`);
    }
    if (challenge.service !== undefined) url.searchParams.set('service', challenge.service);
    url.searchParams.set('scope', challenge.scope ?? `repository:${scope.repository}:pull`);
    const answer = await request(url, {
      dispatcher: this.#options.dispatcher,
      headers: credentials === undefined ? {} : { authorization: basicAuthorization(credentials) },
      headersTimeout: this.#options.timeoutMs,
      bodyTimeout: this.#options.timeoutMs,
      signal,
    }).catch((cause: unknown) => {
      signal.throwIfAborted();
      throw new DownloadError('unreachable', `the token service ${url.host} cannot be reached`, { cause });
    });
    const text = await boundedText(answer.body);
    if (answer.statusCode !== 200) {
      const kind = answer.statusCode >= 500 ? 'unavailable' : 'unauthorized';
      throw new DownloadError(kind, `the token service ${url.host} answers ${answer.statusCode}`);
    }
    return this.#parseToken(text, url.host);
  }

  #parseToken(text: string, service: string): Token {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new DownloadError('unauthorized', `the token service ${service} does not answer in JSON`, {
        cause,
      });
    }
    const fields = typeof value === 'object' && value !== null ? Object.entries(value) : [];
    const field = (name: string): unknown => fields.find(([key]) => key === name)?.[1];
    const token = field('token') ?? field('access_token');
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw new DownloadError('unauthorized', `the token service ${service} gives no token`);
    }
    const expires = field('expires_in');
    const lifetimeMs = 1000 * (typeof expires === 'number' && expires > 0 ? expires : DEFAULT_LIFETIME_S);
    const margin = Math.min(MARGIN_MS, lifetimeMs / 2);
    return { authorization: `Bearer ${token}`, expiresMs: this.#options.nowMs() + lifetimeMs - margin };
  }
}

function keyOf(scope: AuthScope): string {
  return `${scope.host}/${scope.repository}`;
}

/** A password goes out encrypted, or to the registry's own host, or stays on this machine. */
function maySendPassword(url: URL, host: string): boolean {
  if (url.protocol === 'https:') return true;
  return url.host === host || url.hostname === 'localhost' || /^127\.|^\[::1\]$/.test(url.hostname);
}

/** The body as text, cut after {@link MAX_ANSWER_BYTES}. */
export async function boundedText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.byteLength;
    chunks.push(chunk);
    if (sizeBytes > MAX_ANSWER_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES).toString();
}
