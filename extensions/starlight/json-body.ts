import { readWhole } from '../../schemas/body/read-body.ts';
import type { RouteContext } from './http-route.ts';
import { StarlightError } from './starlight-error.ts';

export interface JsonBodyLimits {
  /** No JSON may be larger, whatever the endpoint takes; undefined leaves it to the endpoints. */
  readonly maxJsonBytes?: number | undefined;
}

/**
 * A request's JSON, not yet checked against a schema; `endpointBytes` is what the endpoint takes.
 *
 * @throws {StarlightError} `invalid-request`, `body-too-large`
 */
export async function readJsonBody(
  { req: request, state: { signal } }: Pick<RouteContext, 'req' | 'state'>,
  { maxJsonBytes = Number.MAX_SAFE_INTEGER }: JsonBodyLimits,
  endpointBytes: number,
): Promise<unknown> {
  const maxBytes = Math.min(endpointBytes, maxJsonBytes);
  const tooLarge = () => new StarlightError({ kind: 'body-too-large', limitBytes: maxBytes });
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const bytes = await readWhole(request, maxBytes, tooLarge);
  signal.throwIfAborted();
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalid('the body is not JSON', cause);
  }
}

function invalid(reason: string, cause?: unknown): StarlightError {
  return new StarlightError({ kind: 'invalid-request', reason }, { cause });
}
