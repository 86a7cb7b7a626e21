import type { Static, TSchema } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { firstError } from '../../schemas/body/error-body.ts';
import { readStart } from '../../schemas/body/read-body.ts';
import { CliError } from './cli-error.ts';

export interface ProxyRequest {
  /** The proxy's URL. */
  readonly proxy: string;
  readonly token?: string;
  readonly method: 'GET' | 'DELETE';
  /** With its query. */
  readonly path: string;
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
  const { proxy, token, method, path } = request;
  let response: Response;
  let text: string;
  try {
    response = await fetch(new URL(path, proxy), {
      method,
      headers: token === undefined ? {} : { 'starlight-token': token },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
    text = await readStart(response.body ?? [], MAX_ANSWER_BYTES);
  } catch (cause) {
    signal.throwIfAborted();
    throw new CliError('proxy-unreachable', `cannot reach the proxy ${proxy}`, {
      cause,
      hint: 'name it with --proxy or STARLIGHT_PROXY',
    });
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

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
