import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { FileBody } from './registry/file-body.ts';
import type { RegistryAnswer } from './registry/registry.ts';
import type { FileSender } from './sendfile/file-sender.ts';

/** How long what a client still sends is read after it was answered, so that it gets to see the answer. */
const LINGER_MS = 5_000;

/**
 * Writes an answer out as it is, streaming. A body that breaks off cuts the connection, since only that tells
 * the client that it has not got everything.
 *
 * @param files sends bodies that are files; without it, and where it cannot, they are streamed.
 * @throws what broke the body or the connection; nothing more can be answered then.
 */
export async function sendAnswer(
  answer: RegistryAnswer,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
  files?: FileSender,
): Promise<void> {
  const { status, headers, body } = answer;
  if (signal.aborted || response.destroyed) {
    if (body !== undefined && !(body instanceof Uint8Array)) body.destroy();
    signal.throwIfAborted();
    return;
  }
  response.writeHead(status, headers.flat());
  if (body === undefined || body instanceof Uint8Array) response.end(body);
  else if (!(body instanceof FileBody && (await files?.send(body, response, signal)) === true)) {
    await pipeline(body, response, { signal });
  }
  linger(request);
}

function linger(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  request.resume();
  const timer = setTimeout(() => request.destroy(), LINGER_MS);
  timer.unref();
  request.once('close', () => clearTimeout(timer));
  request.once('end', () => clearTimeout(timer));
}
