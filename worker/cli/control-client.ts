import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { readWhole } from '../../schemas/body/read-body.ts';
import type { ControlErrorBody, PullEvent, PullRequest } from '../control/protocol.ts';
import { CliError } from './cli-error.ts';

/** An answer other than a pull's is small; more than this is no answer of ours. */
const MAX_BODY_BYTES = 64 << 20;

/** Speaks to the daemon over its control socket. Every failure is a `CliError` that says what to do. */
export class ControlClient {
  readonly socketPath: string;

  constructor(socketPath: string) {
    this.socketPath = socketPath;
  }

  async get<T>(path: string, signal: AbortSignal): Promise<T> {
    return await this.#json<T>('GET', path, undefined, signal);
  }

  async post<T>(path: string, body: unknown, signal: AbortSignal): Promise<T> {
    return await this.#json<T>('POST', path, body, signal);
  }

  /** The events of a pull, as they come. The connection's end without a last event is an error. */
  async *pull(body: PullRequest, signal: AbortSignal): AsyncGenerator<PullEvent> {
    const response = await this.#send('POST', '/v1/pull', body, signal);
    if (response.statusCode !== 200) throw await this.#failure(response);
    const lines = createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY });
    let ended = false;
    try {
      for await (const line of lines) {
        if (line === '') continue;
        const event = JSON.parse(line) as PullEvent; // written by our own daemon, of the same version
        yield event;
        ended = event.event === 'ready' || event.event === 'complete' || event.event === 'error';
      }
    } catch (cause) {
      signal.throwIfAborted();
      throw this.#lost(cause);
    }
    if (!ended) throw this.#lost(undefined);
  }

  #lost(cause: unknown): CliError {
    return new CliError('daemon-lost', 'the daemon ended the connection before the pull was over', {
      cause,
      hint: 'a daemon that starts again takes the pull up by itself: see `ctr-starlight status`',
    });
  }

  async #json<T>(method: string, path: string, body: unknown, signal: AbortSignal): Promise<T> {
    const response = await this.#send(method, path, body, signal);
    if (response.statusCode !== 200) throw await this.#failure(response);
    return JSON.parse(await readBody(response)) as T; // see above
  }

  async #failure(response: IncomingMessage): Promise<CliError> {
    const text = await readBody(response);
    try {
      const { error } = JSON.parse(text) as ControlErrorBody; // what does not fit is caught below
      return new CliError(error.code, error.message);
    } catch {
      return new CliError(
        'daemon-failed',
        `the daemon answered ${response.statusCode}: ${text.slice(0, 500)}`,
      );
    }
  }

  #send(method: string, path: string, body: unknown, signal: AbortSignal): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = request({
        socketPath: this.socketPath,
        method,
        path,
        signal,
        headers: body === undefined ? {} : { 'content-type': 'application/json' },
      });
      outgoing.once('response', resolve);
      outgoing.once('error', (cause: NodeJS.ErrnoException) => {
        if (signal.aborted) reject(signal.reason);
        else reject(this.#unreachable(cause));
      });
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  #unreachable(cause: NodeJS.ErrnoException): CliError {
    const where = `the daemon's control socket ${this.socketPath}`;
    if (cause.code === 'EACCES') {
      return new CliError('denied', `no permission to use ${where}`, { cause, hint: 'run this as root' });
    }
    return new CliError('daemon-unreachable', `cannot reach ${where}: ${cause.message}`, {
      cause,
      hint: 'is starlight-daemon running? name its socket with --socket or STARLIGHT_SOCKET',
    });
  }
}

async function readBody(response: IncomingMessage): Promise<string> {
  const message = `the daemon's answer is longer than ${MAX_BODY_BYTES} bytes`;
  const bytes = await readWhole(response, MAX_BODY_BYTES, () => new CliError('daemon-failed', message));
  return bytes.toString();
}
