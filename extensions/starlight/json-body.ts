import type { IncomingMessage } from 'node:http';
import { StarlightError } from './starlight-error.ts';

/** A request's JSON, not yet checked against a schema. @throws {StarlightError} `invalid-request` */
export async function readJsonBody(
  request: IncomingMessage,
  maxBytes: number,
  signal: AbortSignal,
): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of request as AsyncIterable<Uint8Array>) {
    signal.throwIfAborted();
    sizeBytes += part.length;
    if (sizeBytes > maxBytes) throw invalid(`the body is larger than ${maxBytes} bytes`);
    parts.push(part);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts)));
  } catch (cause) {
    throw invalid('the body is not JSON', cause);
  }
}

function invalid(reason: string, cause?: unknown): StarlightError {
  return new StarlightError({ kind: 'invalid-request', reason }, { cause });
}
