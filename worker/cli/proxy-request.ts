import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { Agent, fetch, type Response } from 'undici';
import { firstError } from '../../schemas/body/error-body.ts';
import { readStart } from '../../schemas/body/read-body.ts';
import type { CredentialSource } from '../../schemas/registry-auth/credentials.ts';
import { DockerConfigError } from '../../schemas/registry-auth/docker-config.ts';
import { RegistryAuth } from '../../schemas/registry-auth/registry-auth.ts';
import { RegistryAuthError } from '../../schemas/registry-auth/registry-auth-error.ts';
import type { ClientTls } from '../../schemas/tls/client-tls.ts';
import { CliError } from './cli-error.ts';
import { proxyUrl } from './proxy-url.ts';

export interface ProxyRequest {
  /** The proxy's URL. */
  readonly proxy: string;
  readonly token?: string;
  readonly method: 'GET' | 'DELETE';
  /** With its query. */
  readonly path: string;
  readonly tls?: ClientTls;
  /** The login at the proxy, asked for only where that wants one; without it a 401 is the answer. */
  readonly credentials?: CredentialSource;
}

const TIMEOUT_MS = 60_000;
const MAX_ANSWER_BYTES = 16 << 20;
const MAX_ERROR_CHARS = 2_000;

/**
 * Asks the proxy, and checks that the answer is of the shape of `schema`.
 * @throws {CliError} with the proxy's own code and message, or saying that it is not there.
 */
export async function askProxy<S extends TSchema>(
  request: ProxyRequest,
  schema: S,
  signal: AbortSignal,
): Promise<Static<S>> {
  const { proxy, path } = request;
  const agent = new Agent({ connect: { ...request.tls } });
  let response: Response;
  let text: string;
  try {
    const within = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    response = await send(request, agent, within);
    text = await readStart(response.body ?? [], MAX_ANSWER_BYTES);
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof DockerConfigError || cause instanceof CliError) throw cause;
    if (cause instanceof RegistryAuthError) {
      throw new CliError(cause.kind, cause.message, { cause, hint: 'give --user, or use docker login' });
    }
    throw new CliError('proxy-unreachable', `cannot reach the proxy ${proxy}`, {
      cause,
      hint:
        request.tls === undefined
          ? 'name it with --proxy or STARLIGHT_PROXY'
          : 'name it with --proxy or STARLIGHT_PROXY, its authority with --ca-file',
    });
  } finally {
    await agent.destroy();
  }
  if (response.ok) {
    const answer = parseJson(text);
    if (Value.Check(schema, answer)) return answer;
    throw new CliError(
      'proxy-failed',
      `${proxy} answers ${path} with something else: is it a Starlight proxy?`,
    );
  }
  const { code, message } = firstError(text);
  if (code !== undefined)
    throw new CliError(code, `the proxy refused: ${message ?? response.status} (${code})`);
  throw new CliError(
    'proxy-failed',
    `the proxy answered ${response.status}: ${text.slice(0, MAX_ERROR_CHARS)}`,
  );
}

/** Sends it, and again with a login where one is wanted and at hand. */
async function send(request: ProxyRequest, agent: Agent, signal: AbortSignal): Promise<Response> {
  const { proxy, token, method, path, credentials } = request;
  const url = new URL(path, proxyUrl(proxy));
  const once = (headers: Readonly<Record<string, string>>): Promise<Response> =>
    fetch(url, {
      ...{ method, signal, dispatcher: agent },
      headers: { ...(token === undefined ? {} : { 'starlight-token': token }), ...headers },
    });
  const response = await once({});
  if (response.status !== 401 || credentials === undefined) return response;
  await response.body?.cancel();
  const auth = new RegistryAuth({
    ...{ dispatcher: agent, timeoutMs: TIMEOUT_MS, nowMs: Date.now },
    ...{ access: 'challenged', insecure: false },
  });
  const scope = {
    host: url.host,
    access: '',
    credentials: (within: AbortSignal) => credentials(url.host, within),
  };
  const header = response.headers.get('www-authenticate') ?? undefined;
  return await once({ authorization: await auth.answer(scope, header, signal) });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
