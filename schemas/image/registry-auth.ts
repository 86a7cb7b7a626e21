import type { Dispatcher } from 'undici';
import { request } from 'undici';
import type { CredentialSource } from './credentials.ts';
import { ImageError } from './image-error.ts';
import { readAll } from './verify-stream.ts';

/** A `WWW-Authenticate` header that a registry answers 401 with. */
export interface Challenge {
  readonly scheme: 'basic' | 'bearer';
  readonly parameters: Readonly<Record<string, string>>;
}

const MAX_TOKEN_BYTES = 1024 * 1024;

/** The first challenge that can be answered (RFC 9110 section 11.6.1). */
export function parseChallenge(header: string): Challenge | undefined {
  const match = /(?:^|,\s*)(basic|bearer)\s+(.*)$/i.exec(header);
  if (match === null) return undefined;
  const parameters: Record<string, string> = {};
  for (const [, key, quoted, plain] of (match[2] ?? '').matchAll(
    /([a-z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/gi,
  )) {
    if (key !== undefined) parameters[key.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '';
  }
  return { scheme: match[1]?.toLowerCase() === 'basic' ? 'basic' : 'bearer', parameters };
}

/**
 * Answers the challenges of one registry, and remembers the answers by what was asked to do
 * (distribution-spec's token authentication, as docker and containerd do it).
 */
export class RegistryAuth {
  readonly #host: string;
  readonly #credentials: CredentialSource;
  readonly #dispatcher: Dispatcher;
  readonly #headers = new Map<string, string>();

  constructor(host: string, credentials: CredentialSource, dispatcher: Dispatcher) {
    this.#host = host;
    this.#credentials = credentials;
    this.#dispatcher = dispatcher;
  }

  /** The `Authorization` header for requests of this scope, if one is known. */
  header(scope: string): string | undefined {
    return this.#headers.get(scope);
  }

  /** Makes a header that answers the challenge. @throws {ImageError} `unauthorized` */
  async answer(challenge: Challenge, scope: string, signal: AbortSignal): Promise<void> {
    const credentials = await this.#credentials(this.#host, signal);
    const basic =
      credentials === undefined
        ? undefined
        : `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
    if (challenge.scheme === 'basic') {
      if (basic === undefined) throw this.#unauthorized('it wants a login, and there is none');
      this.#headers.set(scope, basic);
      return;
    }
    this.#headers.set(scope, `Bearer ${await this.#token(challenge, scope, basic, signal)}`);
  }

  async #token(
    challenge: Challenge,
    scope: string,
    basic: string | undefined,
    signal: AbortSignal,
  ): Promise<string> {
    const { realm, service } = challenge.parameters;
    if (realm === undefined || !URL.canParse(realm)) throw this.#unauthorized('its challenge has no realm');
    const url = new URL(realm);
    if (service !== undefined) url.searchParams.set('service', service);
    const scopes = scope === '' ? [challenge.parameters['scope'] ?? ''] : scope.split(' ');
    for (const one of scopes) if (one !== '') url.searchParams.append('scope', one);
    const { statusCode, body } = await request(url, {
      headers: basic === undefined ? {} : { authorization: basic },
      dispatcher: this.#dispatcher,
      signal,
    });
    const text = (await readAll(body, MAX_TOKEN_BYTES, 'the answer of the token service')).toString('utf8');
    if (statusCode !== 200) throw this.#unauthorized(`its token service answered ${statusCode}`);
    try {
      const answer = JSON.parse(text) as { token?: unknown; access_token?: unknown }; // or caught below
      const token = answer.token ?? answer.access_token;
      if (typeof token === 'string' && token !== '') return token;
    } catch {
      // as good as none
    }
    throw this.#unauthorized('its token service gave no token');
  }

  #unauthorized(reason: string): ImageError {
    return new ImageError(
      { kind: 'unauthorized', host: this.#host },
      `${this.#host} does not let us in: ${reason}`,
    );
  }
}
