import type { IncomingMessage } from 'node:http';
import { readWhole } from '../../schemas/body/read-body.ts';
import { StarlightError } from './starlight-error.ts';

/** A request's JSON, not yet checked against a schema. @throws {StarlightError} `invalid-request`, `body-too-large` */
export async function readJsonBody(
  request: IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
): Promise<unknown> {
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
