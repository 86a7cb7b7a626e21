import type { Duplex } from 'node:stream';
import { errorCode } from '../../schemas/process/system-error.ts';

interface Refusal {
  readonly status: string;
  readonly code: string;
  readonly message: string;
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: {
    status: '431 Request Header Fields Too Large',
    code: 'UNSUPPORTED',
    message: 'the request line and headers are too long',
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: '413 Content Too Large',
    code: 'SIZE_INVALID',
    message: 'the chunk extensions are too long',
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: '408 Request Timeout',
    code: 'UNSUPPORTED',
    message: 'the headers did not come in time',
  },
};
const MALFORMED: Refusal = { status: '400 Bad Request', code: 'UNSUPPORTED', message: 'this is not HTTP' };

/**
 * Answers what never became a request, in the form of the distribution-spec, and closes the connection. Nothing is
 * written into an answer that has begun (`answering`).
 */
export function answerClientError(error: Error, socket: Duplex, answering: boolean): void {
  // What the parser says can be answered; a handshake that failed, or a connection that broke, cannot.
  const code = errorCode(error) ?? '';
  const parsed = code.startsWith('HPE_') || code === 'ERR_HTTP_REQUEST_TIMEOUT';
  if (!socket.writable || answering || !parsed) {
    socket.destroy();
    return;
  }
  const refusal = REFUSALS[code] ?? MALFORMED;
  const body = JSON.stringify({ errors: [{ code: refusal.code, message: refusal.message }] });
  const head = [
    `HTTP/1.1 ${refusal.status}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${body.length}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}
