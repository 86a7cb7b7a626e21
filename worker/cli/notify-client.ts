import { Agent, type Dispatcher, request as sendRequest } from 'undici';
import { firstError } from '../../schemas/body/error-body.ts';
import { readStart } from '../../schemas/body/read-body.ts';
import { formatReference, InvalidReferenceError, parseReference } from '../../schemas/oci/reference.ts';
import type { CredentialSource } from '../../schemas/registry-auth/credentials.ts';
import { DockerConfigError } from '../../schemas/registry-auth/docker-config.ts';
import { RegistryAuth } from '../../schemas/registry-auth/registry-auth.ts';
import { RegistryAuthError } from '../../schemas/registry-auth/registry-auth-error.ts';
import type { ClientTls } from '../../schemas/tls/client-tls.ts';
import { repositoryName } from '../../schemas/image/repository-name.ts';
import { CliError } from './cli-error.ts';
import { proxyUrl } from './proxy-url.ts';

export interface NotifyRequest {
  readonly reference: string;
  /** The proxy's URL. */
  readonly proxy: string;
  readonly token?: string | undefined;
  /** For the registry, asked for only where that wants a login. */
  readonly credentials: CredentialSource;
  readonly tls: ClientTls;
}

/** What the proxy says that it did with an image, in words. */
export const NOTIFIED = {
  ingested: 'ingested',
  already: 'known already',
  'not-converted': 'not converted',
} as const;

export interface NotifyAnswer {
  readonly images: readonly {
    readonly platform: string;
    readonly manifestDigest: string;
    readonly status: keyof typeof NOTIFIED;
    readonly reason?: string;
  }[];
}

/** Reading the layers of a large image takes the proxy its time. */
const TIMEOUT_MS = 15 * 60_000;
const AUTH_TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 4 << 20;
const MAX_ERROR_CHARS = 2000;

/** POST /starlight/notify. @throws {CliError} with the proxy's own code and message, or saying that it is not there. */
export async function notifyProxy(request: NotifyRequest, signal: AbortSignal): Promise<NotifyAnswer> {
  const agent = new Agent({
    connect: { ...request.tls },
    headersTimeout: TIMEOUT_MS,
    bodyTimeout: TIMEOUT_MS,
  });
  try {
    return await ask(request, agent, AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]));
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof CliError || cause instanceof DockerConfigError) throw cause;
    if (cause instanceof RegistryAuthError) throw new CliError(cause.kind, cause.message, { cause });
    throw new CliError('proxy-unreachable', `cannot reach the proxy ${request.proxy}`, {
      cause,
      hint: 'name it with --proxy or STARLIGHT_PROXY, its authority with --ca-file',
    });
  } finally {
    await agent.destroy();
  }
}

async function ask(request: NotifyRequest, agent: Agent, signal: AbortSignal): Promise<NotifyAnswer> {
  const { host, ...local } = readReference(request.reference);
  const url = new URL('/starlight/notify', proxyUrl(request.proxy));
  const body = JSON.stringify({
    reference: formatReference({ ...local, host: '' }),
    ...(host === '' ? {} : { ns: host }),
  });
  const send = (authorization: string | undefined): Promise<Dispatcher.ResponseData> =>
    sendRequest(url, {
      dispatcher: agent,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(request.token === undefined ? {} : { 'starlight-token': request.token }),
        ...(authorization === undefined ? {} : { authorization }),
      },
      body,
      signal,
    });
  let answer = await send(undefined);
  if (answer.statusCode === 401) {
    await answer.body.dump();
    const auth = new RegistryAuth({
      ...{ dispatcher: agent, timeoutMs: AUTH_TIMEOUT_MS, nowMs: () => Date.now() },
      ...{ access: 'challenged', insecure: false },
    });
    const asked = host === '' ? url.host : host;
    const scope = {
      host: asked,
      access: `repository:${repositoryName({ ...local, host })}:pull`,
      credentials: (within: AbortSignal) => request.credentials(asked, within),
    };
    answer = await send(await auth.answer(scope, answer.headers['www-authenticate'], signal));
  }
  const text = await readStart(answer.body, MAX_ANSWER_BYTES);
  if (answer.statusCode === 200) return JSON.parse(text) as NotifyAnswer; // the shape is the extension's contract
  throw proxyError(answer.statusCode, text);
}

function readReference(text: string): ReturnType<typeof parseReference> {
  try {
    return parseReference(text);
  } catch (cause) {
    if (cause instanceof InvalidReferenceError)
      throw new CliError('invalid-reference', cause.message, { cause });
    throw cause;
  }
}

function proxyError(status: number, text: string): CliError {
  const { code, message } = firstError(text);
  if (code !== undefined) return new CliError(code, `the proxy refused: ${message ?? status} (${code})`);
  return new CliError('proxy-failed', `the proxy answered ${status}: ${text.slice(0, MAX_ERROR_CHARS)}`);
}
