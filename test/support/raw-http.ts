import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Buffer;
  /** The bytes as UTF-8. */
  readonly text: string;
}

export interface RawCall {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** Sends a request whose target stands in its line exactly as given: `fetch` would tidy it up. */
export async function rawCall(port: number, target: string, call: RawCall = {}): Promise<RawAnswer> {
  const { method = 'GET', headers = {}, body } = call;
  const sent = request({
    host: '127.0.0.1',
    port,
    path: target,
    method,
    headers: { ...headers },
    agent: false,
  });
  const answered = once(sent, 'response');
  sent.end(body);
  const [response] = await answered;
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  const bytes = Buffer.concat(parts);
  return { status: response.statusCode, headers: response.headers, bytes, text: bytes.toString() };
}

/** A connection on which a test writes what no client would. */
export async function openSocket(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined); // to be cut is what tests wait for
  await once(socket, 'connect');
  return socket;
}

/** Writes `text` on a new connection, and gives back all that comes until the server closes it. */
export async function exchange(port: number, text: string): Promise<string> {
  const socket = await openSocket(port);
  socket.write(text);
  return await readToEnd(socket);
}

/** Everything that comes until the connection is closed, gently or not. */
export async function readToEnd(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on('data', (part: Buffer) => parts.push(part));
  if (!socket.closed) await once(socket, 'close');
  return Buffer.concat(parts).toString('latin1');
}
