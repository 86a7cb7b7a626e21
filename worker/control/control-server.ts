import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Static, TSchema } from '@sinclair/typebox';
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler';
import type { Logger } from 'pino';
import { readWhole } from '../../schemas/body/read-body.ts';
import { openSocket, type UnixSocket } from '../unix-socket.ts';
import { ControlError, describeError } from './control-error.ts';
import {
  type GcBody,
  type OptimizerBody,
  OptimizerRequestSchema,
  type PingBody,
  type PullEvent,
  type PullRequest,
  PullRequestSchema,
  type ReportBody,
  type StatusBody,
  type VersionBody,
} from './protocol.ts';

/** What the control API can do; the daemon implements it. */
export interface ControlActions {
  /** Tells of the pull until it is over; ends by returning, or by throwing what went wrong. */
  pull(request: PullRequest, tell: (event: PullEvent) => void, signal: AbortSignal): Promise<void>;
  status(signal: AbortSignal): Promise<StatusBody>;
  version(): VersionBody;
  optimizer(on: boolean): OptimizerBody;
  report(signal: AbortSignal): Promise<ReportBody>;
  gc(signal: AbortSignal): Promise<GcBody>;
  ping(signal: AbortSignal): Promise<PingBody>;
}

const MAX_BODY_BYTES = 256 * 1024;

const checkPull = TypeCompiler.Compile(PullRequestSchema);
const checkOptimizer = TypeCompiler.Compile(OptimizerRequestSchema);

/**
 * The control API: HTTP on a Unix socket; see protocol.ts. Only its owner may speak to it: a pull carries
 * credentials, and a report leaves the machine.
 */
export class ControlServer {
  readonly #actions: ControlActions;
  readonly #log: Logger;
  readonly #server: Server;
  readonly #stopping = new AbortController();
  #socket: UnixSocket | undefined;

  constructor(actions: ControlActions, log: Logger) {
    this.#actions = actions;
    this.#log = log;
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.requestTimeout = 30_000;
  }

  /** Listens on `path`; a socket left by a daemon that died is replaced. @throws {Error} as openSocket() does. */
  async listen(path: string): Promise<void> {
    try {
      this.#socket = await openSocket(path, async (draft) => {
        this.#server.listen(draft);
        await once(this.#server, 'listening');
      });
    } catch (error) {
      this.#server.close();
      throw error;
    }
  }

  /** Takes no more requests; those under way are ended when `signal` aborts. */
  async close(signal: AbortSignal): Promise<void> {
    this.#stopping.abort(new ControlError(503, 'stopping', 'the daemon is stopping'));
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeIdleConnections();
    const cut = (): void => this.#server.closeAllConnections();
    if (signal.aborted) cut();
    signal.addEventListener('abort', cut, { once: true });
    await closed;
    signal.removeEventListener('abort', cut);
    await this.#socket?.release();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new ControlError(499, 'gone', 'the caller went away')));
    const signal = AbortSignal.any([gone.signal, this.#stopping.signal]);
    try {
      await this.#route(request, response, signal);
    } catch (error) {
      const told = describeError(error);
      if (!signal.aborted) this.#log.warn({ err: error, url: request.url }, 'a control request failed');
      if (response.headersSent) response.destroy();
      else send(response, told.status, { error: { code: told.code, message: told.message } });
    }
  }

  async #route(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const actions = this.#actions;
    const route = `${request.method} ${new URL(request.url ?? '/', 'http://control').pathname}`;
    switch (route) {
      case 'POST /v1/pull':
        return this.#pull(parse(checkPull, await readJson(request)), response, signal);
      case 'GET /v1/status':
        return send(response, 200, await actions.status(signal));
      case 'GET /v1/version':
        return send(response, 200, actions.version());
      case 'POST /v1/optimizer':
        return send(response, 200, actions.optimizer(parse(checkOptimizer, await readJson(request)).on));
      case 'POST /v1/report':
        return send(response, 200, await actions.report(signal));
      case 'POST /v1/gc':
        return send(response, 200, await actions.gc(signal));
      case 'GET /v1/ping':
        return send(response, 200, await actions.ping(signal));
      default:
        throw new ControlError(404, 'unknown-request', `no such request: ${route.slice(0, 200)}`);
    }
  }

  async #pull(request: PullRequest, response: ServerResponse, signal: AbortSignal): Promise<void> {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const tell = (event: PullEvent): void => {
      // A reader that is slow misses steps of the progress, and nothing else.
      if (event.event === 'progress' && response.writableNeedDrain) return;
      response.write(`${JSON.stringify(event)}\n`);
    };
    try {
      await this.#actions.pull(request, tell, signal);
    } catch (error) {
      const { code, message } = describeError(error);
      this.#log.warn({ err: error, reference: request.reference }, 'a pull failed');
      tell({ event: 'error', code, message });
    }
    response.end();
  }
}

function parse<T extends TSchema>(checker: TypeCheck<T>, value: unknown): Static<T> {
  if (checker.Check(value)) return value;
  const first = checker.Errors(value).First();
  throw new ControlError(
    400,
    'invalid-request',
    `${first?.path || '/'}: ${first?.message ?? 'of another shape'}`,
  );
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const tooLarge = () => new ControlError(413, 'too-large', 'the request is too large');
  const bytes = await readWhole(request, MAX_BODY_BYTES, tooLarge);
  try {
    return JSON.parse(bytes.toString());
  } catch (cause) {
    throw new ControlError(400, 'invalid-request', 'the request is not JSON', { cause });
  }
}

function send(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}
