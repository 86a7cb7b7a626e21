import { createHmac, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Challenge, parseChallenge } from '../../schemas/registry-auth/challenge.ts';
import {
  type Credentials,
  type Login,
  loginOf,
  parseBasicAuthorization,
} from '../../schemas/registry-auth/credentials.ts';
import { RegistryAuth, type TokenScope } from '../../schemas/registry-auth/registry-auth.ts';
import { RegistryAuthError } from '../../schemas/registry-auth/registry-auth-error.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { headerValue, headerValues, withoutCredentials } from './headers.ts';
import {
  discard,
  type UpstreamClient,
  type UpstreamRequest,
  type UpstreamResponse,
} from './upstream-client.ts';
import { presentsOwn, type UpstreamConfig } from './upstream-config.ts';

/** With whose credentials an upstream is asked: the caller's, or the proxy's, which may be none. */
type Mode = 'caller' | 'own';

/**
 * An upstream, asked with the right credentials. Where the proxy has some of its own (or is to ask anonymously), it
 * answers challenges itself and the caller's never leave it. Else the caller's go on as they are and challenges come
 * back as they are, so that each caller is itself to the upstream; only a caller's Basic credentials are exchanged
 * here for the token that the upstream wants instead, one per caller and scope.
 */
export class AuthorisingClient {
  readonly #client: UpstreamClient;
  readonly #config: UpstreamConfig;
  readonly #mode: Mode;
  readonly #host: string;
  readonly #auth: RegistryAuth;
  /** Callers are told apart without their credentials being kept. */
  readonly #callerKey = randomBytes(32);
  /** The upstream's challenge, less its scope: what a body that can be sent only once needs to know before. */
  #challenge: Challenge | 'none' | undefined;

  constructor(config: UpstreamConfig, client: UpstreamClient) {
    this.#client = client;
    this.#config = config;
    this.#mode = presentsOwn(config) ? 'own' : 'caller';
    this.#host = new URL(config.url).host;
    this.#auth = new RegistryAuth({
      dispatcher: client.dispatcher,
      timeoutMs: config.readTimeoutMs,
      nowMs: Date.now,
      access: 'both',
      insecure: config.plainHttp,
    });
  }

  /**
   * Sends a request to the upstream itself; `access` is what it needs (Docker's access scopes, blanks between them).
   * @throws {RegistryError} as the client does; 'upstream-denied' where the proxy's own credentials do not suffice.
   */
  async send(request: UpstreamRequest, access: string): Promise<UpstreamResponse> {
    return this.#mode === 'own'
      ? await this.#sendOwn(request, access)
      : await this.#sendAsCaller(request, access);
  }

  async #sendOwn(request: UpstreamRequest, access: string): Promise<UpstreamResponse> {
    const bare = { ...request, headers: withoutCredentials(request.headers) };
    const { tokenFile } = this.#config;
    if (tokenFile !== undefined) {
      const token = await this.#secret(tokenFile);
      return await allowed(await this.#client.send(presenting(bare, `Bearer ${token}`)));
    }
    const scope: TokenScope = { host: this.#host, access, credentials: () => this.#ownLogin() };
    try {
      return await allowed(await this.#sendWith(bare, scope, undefined));
    } catch (error) {
      if (!(error instanceof RegistryAuthError)) throw error;
      if (error.kind !== 'unauthorized')
        throw new RegistryError({ kind: 'upstream-unreachable' }, { cause: error });
      if (this.#config.username === undefined)
        throw new RegistryError({ kind: 'upstream-denied' }, { cause: error });
      const reason = 'it does not accept the credentials that are configured for it';
      throw new RegistryError({ kind: 'upstream-protocol', reason }, { cause: error });
    }
  }

  async #sendAsCaller(request: UpstreamRequest, access: string): Promise<UpstreamResponse> {
    const authorization = headerValue(request.headers, 'authorization');
    const credentials = authorization === undefined ? undefined : parseBasicAuthorization(authorization);
    if (authorization === undefined || credentials === undefined) return await this.#client.send(request);
    const scope: TokenScope = {
      host: this.#host,
      access,
      caller: createHmac('sha256', this.#callerKey).update(authorization).digest('base64url'),
      credentials: async () => loginOf(credentials),
    };
    try {
      return await this.#sendWith(request, scope, credentials);
    } catch (error) {
      if (!(error instanceof RegistryAuthError)) throw error;
      // A token service that is away says nothing of the caller's rights. Else the caller is to see what the upstream
      // itself says to its credentials; a body that is gone is not sent again.
      if (error.kind !== 'unauthorized' || request.body?.readableDidRead === true)
        throw new RegistryError({ kind: 'upstream-unreachable' }, { cause: error });
      return await this.#client.send(request);
    }
  }

  /**
   * Presents what is known for the scope, and meets one challenge. With `basic`, the request itself carries Basic
   * credentials, and only a challenge for a token is met.
   */
  async #sendWith(
    request: UpstreamRequest,
    scope: TokenScope,
    basic: Credentials | undefined,
  ): Promise<UpstreamResponse> {
    const known = this.#auth.known(scope) ?? (await this.#before(request, scope, basic));
    const response = await this.#client.send(known === undefined ? request : presenting(request, known));
    if (response.status !== 401) return response;
    if (known !== undefined) this.#auth.forget(scope, known);
    const header = headerValues(response.headers, 'www-authenticate');
    const challenge = parseChallenge(header);
    this.#remember(challenge);
    if (request.body !== undefined || challenge === undefined) return response;
    if (basic !== undefined && challenge.scheme === 'basic') return response;
    await discard(response);
    // Another request may have met it meanwhile.
    const authorization = this.#auth.known(scope) ?? (await this.#auth.answer(scope, header, request.signal));
    const again = await this.#client.send(presenting(request, authorization));
    if (again.status === 401) this.#auth.forget(scope, authorization);
    return again;
  }

  /** What to present with a body, which cannot be sent a second time: the upstream's challenge is found out before. */
  async #before(
    request: UpstreamRequest,
    scope: TokenScope,
    basic: Credentials | undefined,
  ): Promise<string | undefined> {
    if (request.body === undefined) return undefined;
    const challenge = this.#challenge ?? (await this.#probe(request));
    if (challenge === 'none' || (basic !== undefined && challenge.scheme === 'basic')) return undefined;
    return await this.#auth.meet(scope, challenge, request.signal);
  }

  async #probe({ signal }: UpstreamRequest): Promise<Challenge | 'none'> {
    const url = new URL('/v2/', this.#config.url);
    const response = await this.#client.send({ method: 'GET', url, headers: [], signal });
    await discard(response);
    const header = headerValues(response.headers, 'www-authenticate');
    return this.#remember(response.status === 401 ? parseChallenge(header) : undefined);
  }

  #remember(challenge: Challenge | undefined): Challenge | 'none' {
    if (challenge?.scheme === 'bearer') {
      const { scope: _, ...rest } = challenge; // of another request
      this.#challenge = rest;
    } else this.#challenge = challenge ?? 'none';
    return this.#challenge;
  }

  async #ownLogin(): Promise<Login | undefined> {
    const { username, passwordFile } = this.#config;
    if (username === undefined || passwordFile === undefined) return undefined;
    return loginOf({ username, password: await this.#secret(passwordFile) });
  }

  /** Read each time, so that it may be renewed on the disk. A newline at its end is not part of it. */
  async #secret(file: string): Promise<string> {
    try {
      return (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
    } catch (cause) {
      const reason = 'the credentials that are configured for it cannot be read';
      throw new RegistryError({ kind: 'upstream-protocol', reason }, { cause });
    }
  }
}

/** The challenge of a 401 is for the proxy: a caller that met it would present its credentials in the wrong place. */
async function allowed(response: UpstreamResponse): Promise<UpstreamResponse> {
  if (response.status !== 401) return response;
  await discard(response);
  throw new RegistryError({ kind: 'upstream-denied' });
}

function presenting(request: UpstreamRequest, authorization: string): UpstreamRequest {
  const headers = request.headers.filter(([name]) => name.toLowerCase() !== 'authorization');
  return { ...request, headers: [...headers, ['Authorization', authorization]] };
}
