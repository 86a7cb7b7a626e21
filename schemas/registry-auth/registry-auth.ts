import { type Dispatcher, request } from 'undici';
import { readStart } from '../body/read-body.ts';
import { type Challenge, parseChallenge } from './challenge.ts';
import { basicAuthorization, type Credentials } from './credentials.ts';
import { RegistryAuthError } from './registry-auth-error.ts';

/** At which registry, for what, and whose credentials are asked for when it wants some. */
export interface TokenScope {
  /** Empty for the one registry that a proxy stands before. */
  readonly host: string;
  /** Docker's access scopes, blanks between them: `repository:library/redis:pull`. */
  readonly access: string;
  readonly credentials: (signal: AbortSignal) => Promise<Credentials | undefined>;
}

export interface RegistryAuthOptions {
  readonly dispatcher: Dispatcher;
  readonly timeoutMs: number;
  readonly nowMs: () => number;
  /**
   * Which access a token is asked for: the scope's own, since a mount wants two repositories where a challenge
   * names one; or the challenge's, where the registry behind a proxy may know the repository by another name.
   */
  readonly access: 'own' | 'challenged';
  /** Credentials may go to a token service in the clear. */
  readonly insecure: boolean;
}

type BearerChallenge = Extract<Challenge, { scheme: 'bearer' }>;
interface Answer {
  readonly authorization: string;
  readonly expiresMs: number;
}

/** Docker's token specification: without `expires_in` a token lives for 60 seconds. */
const DEFAULT_LIFETIME_S = 60;
/** Renewed this long before it ends, at most half its life. */
const MARGIN_MS = 10_000;
const MAX_ANSWERS = 256;
const MAX_TOKEN_BYTES = 1024 * 1024;

/**
 * The `Authorization` header for registries: none until challenged, then what the challenge asks for (the
 * distribution project's token authentication, as docker and containerd do it). Tokens are kept, by host and access,
 * until shortly before they expire.
 */
export class RegistryAuth {
  readonly #options: RegistryAuthOptions;
  readonly #answers = new Map<string, Answer>();

  constructor(options: RegistryAuthOptions) {
    this.#options = options;
  }

  /** What is known to work for this scope already. */
  known(scope: Pick<TokenScope, 'host' | 'access'>): string | undefined {
    const answer = this.#answers.get(keyOf(scope));
    if (answer === undefined) return undefined;
    if (answer.expiresMs > this.#options.nowMs()) return answer.authorization;
    this.#answers.delete(keyOf(scope));
    return undefined;
  }

  /** Forgets what was refused. */
  forget(scope: Pick<TokenScope, 'host' | 'access'>): void {
    this.#answers.delete(keyOf(scope));
  }

  /**
   * Meets a challenge (the `WWW-Authenticate` header of a 401), and remembers the answer.
   * @throws {RegistryAuthError} and what the scope's credentials throw.
   */
  async answer(
    scope: TokenScope,
    header: string | readonly string[] | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const challenge = parseChallenge(header);
    const where = scope.host === '' ? 'the registry' : scope.host;
    if (challenge === undefined) {
      const what = header === undefined ? 'without a challenge' : 'with a challenge that is not supported';
      throw new RegistryAuthError('unauthorized', `${where} answered 401 ${what}`);
    }
    const credentials = await scope.credentials(signal);
    if (challenge.scheme === 'bearer') {
      return this.#keep(scope, await this.#fetchToken(scope, challenge, credentials, signal));
    }
    if (credentials === undefined) {
      throw new RegistryAuthError('unauthorized', `${where} wants a login, and there is none`);
    }
    return this.#keep(scope, { authorization: basicAuthorization(credentials), expiresMs: Infinity });
  }

  #keep(scope: TokenScope, answer: Answer): string {
    if (this.#answers.size >= MAX_ANSWERS) this.#answers.clear();
    this.#answers.set(keyOf(scope), answer);
    return answer.authorization;
  }

  async #fetchToken(
    scope: TokenScope,
    challenge: BearerChallenge,
    credentials: Credentials | undefined,
    signal: AbortSignal,
  ): Promise<Answer> {
    const url = this.#tokenUrl(scope, challenge);
    if (credentials !== undefined && !this.#options.insecure && !maySendPassword(url, scope.host)) {
      throw new RegistryAuthError('unauthorized', `the token service ${url.host} is not asked in the clear`);
    }
    let response: Dispatcher.ResponseData;
    let text: string;
    try {
      response = await request(url, {
        dispatcher: this.#options.dispatcher,
        headers: credentials === undefined ? {} : { authorization: basicAuthorization(credentials) },
        headersTimeout: this.#options.timeoutMs,
        bodyTimeout: this.#options.timeoutMs,
        signal,
      });
      text = await readStart(response.body, MAX_TOKEN_BYTES);
    } catch (cause) {
      signal.throwIfAborted();
      const reason = cause instanceof Error ? cause.message : String(cause);
      const message = `the token service ${url.host} cannot be reached: ${reason}`;
      throw new RegistryAuthError('unreachable', message, { cause });
    }
    if (response.statusCode !== 200) {
      const kind = response.statusCode >= 500 ? 'unavailable' : 'unauthorized';
      throw new RegistryAuthError(kind, `the token service ${url.host} answered ${response.statusCode}`);
    }
    return this.#parseToken(text, url.host);
  }

  #tokenUrl(scope: TokenScope, challenge: BearerChallenge): URL {
    const url = new URL(challenge.realm);
    if (challenge.service !== undefined) url.searchParams.set('service', challenge.service);
    const challenged = challenge.scope ?? '';
    const preferred = this.#options.access === 'own' ? scope.access : challenged;
    const accesses = preferred !== '' ? preferred : scope.access !== '' ? scope.access : challenged;
    for (const access of accesses.split(' ')) if (access !== '') url.searchParams.append('scope', access);
    return url;
  }

  #parseToken(text: string, service: string): Answer {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      const message = `the token service ${service} does not answer in JSON`;
      throw new RegistryAuthError('unauthorized', message, { cause });
    }
    const fields = typeof value === 'object' && value !== null ? Object.entries(value) : [];
    const field = (name: string): unknown => fields.find(([key]) => key === name)?.[1];
    const token = field('token') ?? field('access_token');
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
      throw new RegistryAuthError('unauthorized', `the token service ${service} gives no token`);
    }
    const expires = field('expires_in');
    const lifetimeMs = 1000 * (typeof expires === 'number' && expires > 0 ? expires : DEFAULT_LIFETIME_S);
    const marginMs = Math.min(MARGIN_MS, lifetimeMs / 2);
    return { authorization: `Bearer ${token}`, expiresMs: this.#options.nowMs() + lifetimeMs - marginMs };
  }
}

function keyOf(scope: Pick<TokenScope, 'host' | 'access'>): string {
  return `${scope.host} ${scope.access}`;
}

/** A password goes out encrypted, or to the registry's own host, or stays on this machine. */
function maySendPassword(url: URL, host: string): boolean {
  if (url.protocol === 'https:') return true;
  return url.host === host || url.hostname === 'localhost' || /^127\.|^\[::1\]$/.test(url.hostname);
}
