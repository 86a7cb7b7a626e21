import { type Dispatcher, request } from 'undici';
import { readStart } from '../body/read-body.ts';
import { type Challenge, parseChallenge } from './challenge.ts';
import { SingleFlight } from '../concurrency/single-flight.ts';
import { basicAuthorization, isIdentityToken, type Login } from './credentials.ts';
import { RegistryAuthError } from './registry-auth-error.ts';

/** At which registry, for what, and whose credentials are asked for when it wants some. */
export interface TokenScope {
  /** Empty for the one registry that a proxy stands before. */
  readonly host: string;
  /** Docker's access scopes, blanks between them: `repository:library/redis:pull`. */
  readonly access: string;
  /** Who asks, where several do: nobody gets the answer that was given to another. */
  readonly caller?: string;
  readonly credentials: (signal: AbortSignal) => Promise<Login | undefined>;
}

/** What an answer is kept under. */
export type TokenKey = Pick<TokenScope, 'host' | 'access' | 'caller'>;

export interface RegistryAuthOptions {
  readonly dispatcher: Dispatcher;
  readonly timeoutMs: number;
  readonly nowMs: () => number;
  /**
   * Which access a token is asked for: the scope's own, since a mount wants two repositories where a challenge
   * names one; or the challenge's, where the registry behind a proxy may know the repository by another name; or
   * both, where the registry may have actions of its own.
   */
  readonly access: 'own' | 'challenged' | 'both';
  /** Credentials may go to a token service in the clear. */
  readonly insecure: boolean;
}

type BearerChallenge = Extract<Challenge, { scheme: 'bearer' }>;
interface TokenQuestion {
  readonly url: URL;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}
interface Answer {
  readonly authorization: string;
  readonly expiresMs: number;
}

/** Docker's token specification: without `expires_in` a token lives for 60 seconds. */
const DEFAULT_LIFETIME_S = 60;
/** Renewed this long before it ends, at most half its life. */
const MARGIN_MS = 10_000;
/** The one that was not used for longest makes room. */
const MAX_ANSWERS = 1024;
/** How the worker and the proxy name themselves to token services (RFC 6749 section 2.2). */
const CLIENT_ID = 'starlight';
const MAX_TOKEN_BYTES = 1024 * 1024;

/**
 * The `Authorization` header for registries: none until challenged, then what the challenge asks for (the
 * distribution project's token authentication, as docker and containerd do it). Tokens are kept, by host, caller and
 * access, until shortly before they expire; the same question of several at once is asked once.
 */
export class RegistryAuth {
  readonly #options: RegistryAuthOptions;
  readonly #answers = new Map<string, Answer>();
  readonly #asking = new SingleFlight<Answer>();

  constructor(options: RegistryAuthOptions) {
    this.#options = options;
  }

  /** What is known to work for this scope already. */
  known(scope: TokenKey): string | undefined {
    const key = keyOf(scope);
    const answer = this.#answers.get(key);
    if (answer === undefined) return undefined;
    this.#answers.delete(key);
    if (answer.expiresMs <= this.#options.nowMs()) return undefined;
    this.#answers.set(key, answer); // the last one now
    return answer.authorization;
  }

  /** Forgets what was refused; with `authorization`, unless there is another by now. */
  forget(scope: TokenKey, authorization?: string): void {
    const key = keyOf(scope);
    if (authorization === undefined || this.#answers.get(key)?.authorization === authorization) {
      this.#answers.delete(key);
    }
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
    return await this.meet(scope, challenge, signal);
  }

  /** As `answer`, of a challenge that was read already. */
  async meet(scope: TokenScope, challenge: Challenge, signal: AbortSignal): Promise<string> {
    const key = JSON.stringify([keyOf(scope), challenge]);
    const answer = await this.#asking.run(key, (shared) => this.#meet(scope, challenge, shared), signal);
    return answer.authorization;
  }

  async #meet(scope: TokenScope, challenge: Challenge, signal: AbortSignal): Promise<Answer> {
    const login = await scope.credentials(signal);
    if (challenge.scheme === 'bearer') {
      return this.#keep(scope, await this.#fetchToken(scope, challenge, login, signal));
    }
    const where = scope.host === '' ? 'the registry' : scope.host;
    if (login === undefined) {
      throw new RegistryAuthError('unauthorized', `${where} wants a login, and there is none`);
    }
    if (isIdentityToken(login)) {
      throw new RegistryAuthError(
        'unauthorized',
        `${where} wants a password, and there is an identity token only`,
      );
    }
    return this.#keep(scope, { authorization: basicAuthorization(login), expiresMs: Infinity });
  }

  #keep(scope: TokenScope, answer: Answer): Answer {
    const key = keyOf(scope);
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= MAX_ANSWERS) break;
      this.#answers.delete(oldest);
    }
    return answer;
  }

  async #fetchToken(
    scope: TokenScope,
    challenge: BearerChallenge,
    login: Login | undefined,
    signal: AbortSignal,
  ): Promise<Answer> {
    const question = this.#question(scope, challenge, login);
    const { url } = question;
    if (login !== undefined && !this.#options.insecure && !maySendPassword(url, scope.host)) {
      throw new RegistryAuthError('unauthorized', `the token service ${url.host} is not asked in the clear`);
    }
    let response: Dispatcher.ResponseData;
    let text: string;
    try {
      response = await request(url, {
        dispatcher: this.#options.dispatcher,
        method: question.method,
        headers: question.headers,
        body: question.body,
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
      const { statusCode } = response;
      const kind = statusCode >= 500 || statusCode === 429 ? 'unavailable' : 'unauthorized';
      throw new RegistryAuthError(kind, `the token service ${url.host} answered ${statusCode}`);
    }
    return this.#parseToken(text, url.host);
  }

  /** An identity token goes in the body of a POST (RFC 6749 section 6), anything else with a GET, as docker does it. */
  #question(scope: TokenScope, challenge: BearerChallenge, login: Login | undefined): TokenQuestion {
    const url = new URL(challenge.realm);
    const accesses = this.#accesses(scope.access, challenge.scope ?? '');
    if (login !== undefined && isIdentityToken(login)) {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: login.identityToken,
        client_id: CLIENT_ID,
        service: challenge.service ?? '',
        scope: accesses.join(' '),
      });
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return { url, method: 'POST', headers, body: form.toString() };
    }
    if (challenge.service !== undefined) url.searchParams.set('service', challenge.service);
    for (const access of accesses) url.searchParams.append('scope', access);
    const headers = login === undefined ? {} : { authorization: basicAuthorization(login) };
    return { url, method: 'GET', headers, body: null };
  }

  #accesses(own: string, challenged: string): readonly string[] {
    const split = (text: string): string[] => text.split(' ').filter((access) => access !== '');
    const { access } = this.#options;
    if (access === 'both') return [...new Set([...split(own), ...split(challenged)])];
    const [preferred, other] = access === 'own' ? [own, challenged] : [challenged, own];
    return split(preferred === '' ? other : preferred);
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
    const nowMs = this.#options.nowMs();
    const issued = field('issued_at');
    const ageMs = typeof issued === 'string' ? nowMs - Date.parse(issued) : 0;
    // A time to come, or one so long ago that the token would be over, tells of clocks that differ.
    const beganMs = ageMs > 0 && ageMs < lifetimeMs ? nowMs - ageMs : nowMs;
    const marginMs = Math.min(MARGIN_MS, lifetimeMs / 2);
    return { authorization: `Bearer ${token}`, expiresMs: beganMs + lifetimeMs - marginMs };
  }
}

function keyOf({ host, caller, access }: TokenKey): string {
  return JSON.stringify([host, caller ?? '', access]);
}

/** A password goes out encrypted, or to the registry's own host, or stays on this machine. */
function maySendPassword(url: URL, host: string): boolean {
  if (url.protocol === 'https:') return true;
  return url.host === host || url.hostname === 'localhost' || /^127\.|^\[::1\]$/.test(url.hostname);
}
