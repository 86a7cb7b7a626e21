import { OWN_USER_AGENT } from '../../extensions/starlight/events/distribution-event.ts';
import { ImageError } from '../../schemas/image/image-error.ts';
import { readAll } from '../../schemas/image/verify-stream.ts';
import { ociErrorOf } from '../errors.ts';
import type { Endpoint, HeaderList, Registry, RegistryAnswer } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { type OwnRequest, ownRequest } from '../registry/request-for.ts';
import type { OwnAuthorization } from './own-credentials.ts';

const MAX_ERROR_BYTES = 64 << 10;

/**
 * Asks a registry that the proxy fronts on the proxy's own account, below everything that stands between it and
 * clients: with its own credentials, and under a name by which it knows its own pushes in events.
 */
export class OwnRegistry {
  /** For messages. */
  readonly name: string;
  readonly #registry: Registry;
  readonly #own: OwnAuthorization;

  constructor(name: string, registry: Registry, own: OwnAuthorization) {
    this.name = name;
    this.#registry = registry;
    this.#own = own;
  }

  /**
   * The answer, of one of `statuses`; its body is to be read or destroyed.
   * @throws {ImageError} `refused` for another status, `unreachable`, `unauthorized`, `denied`.
   */
  async send(
    request: OwnRequest<Endpoint>,
    statuses: readonly number[],
    signal: AbortSignal,
  ): Promise<RegistryAnswer> {
    const answer = await this.#ask(request, signal);
    if (statuses.includes(answer.status)) return answer;
    throw await this.#refusal(request, answer);
  }

  async #ask(request: OwnRequest<Endpoint>, signal: AbortSignal): Promise<RegistryAnswer> {
    const authorization = await this.#own(signal);
    const credentials: HeaderList = authorization === undefined ? [] : [['Authorization', authorization]];
    const headers = [['User-Agent', OWN_USER_AGENT] as const, ...(request.headers ?? []), ...credentials];
    const own = ownRequest({ ...request, headers }, signal);
    try {
      return await this.#registry.answer(own);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof RegistryError) throw this.#imageError(error);
      throw error;
    } finally {
      own.body.destroy();
    }
  }

  #imageError(error: RegistryError): ImageError {
    const { status, message } = ociErrorOf(error);
    const told = `${this.name}: ${message}`;
    if (status === 404) return new ImageError({ kind: 'not-found', what: this.name }, told, { cause: error });
    return new ImageError({ kind: 'refused', host: this.name, status }, told, { cause: error });
  }

  async #refusal({ method, endpoint }: OwnRequest<Endpoint>, answer: RegistryAnswer): Promise<ImageError> {
    const { status, body } = answer;
    const bytes =
      body === undefined || body instanceof Uint8Array
        ? (body ?? new Uint8Array())
        : await readAll(body, MAX_ERROR_BYTES, 'an error').catch(() => new Uint8Array());
    const text = Buffer.from(bytes).toString().slice(0, 500);
    const message = `${this.name} answered ${status} to ${method} of a ${endpoint.kind}${text === '' ? '' : `: ${text}`}`;
    const host = this.name;
    if (status === 401) return new ImageError({ kind: 'unauthorized', host }, message);
    if (status === 403) return new ImageError({ kind: 'denied', host }, message);
    if (status === 404) return new ImageError({ kind: 'not-found', what: endpoint.kind }, message);
    return new ImageError({ kind: 'refused', host, status }, message);
  }
}

export function destroyBody({ body }: RegistryAnswer): void {
  if (body !== undefined && !(body instanceof Uint8Array)) body.on('error', () => undefined).destroy();
}

/** A document as a whole. @throws {ImageError} `malformed` above the limit. */
export async function wholeBody(
  { body }: RegistryAnswer,
  limitBytes: number,
  what: string,
): Promise<Uint8Array> {
  if (body === undefined) return new Uint8Array();
  return body instanceof Uint8Array ? body : await readAll(body, limitBytes, what);
}
