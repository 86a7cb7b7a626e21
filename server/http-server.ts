import { once } from 'node:events';
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';
import { BodyProgress } from './limits/body-progress.ts';
import { answerClientError } from './limits/client-error.ts';
import { DEFAULT_LIMITS, type LimitsConfig } from './limits/config.ts';
import { ConnectionCount } from './limits/connection-count.ts';

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  readonly idleTimeoutMs: number;
  readonly limits?: LimitsConfig;
  /** Certificate and key, and whom to ask for one; undefined speaks plain HTTP. */
  readonly tls?: SecureContextOptions;
  /** Told of how many clients were cut at once since their bodies hardly moved. */
  readonly onSlow?: (clients: number) => void;
}

/** A listening server that can be drained. */
export interface HttpServer {
  readonly address: AddressInfo;
  readonly draining: () => boolean;
  /** New connections get these; those that are open keep what they have. @throws where they are no pair. */
  readonly secure: (tls: SecureContextOptions) => void;
  /** Stops listening, lets requests in flight finish, and cuts them once `cut` is aborted. */
  close(cut: AbortSignal): Promise<void>;
}

/** How often bodies and headers are looked at, within the time that they have. */
const LOOKS = 4;
const MAX_LOOK_MS = 5_000;

/** @throws where the address cannot be listened on, or certificate and key are no pair. */
export async function listen(listener: RequestListener, options: ListenOptions): Promise<HttpServer> {
  const { limits = DEFAULT_LIMITS, tls, idleTimeoutMs } = options;
  let draining = false;
  const progress = new BodyProgress({
    bytesPerS: limits.bodyBytesPerS,
    graceMs: limits.bodyGraceMs,
    nowMs: () => performance.now(),
  });
  /** What is being answered on each connection. */
  const answers = new WeakMap<Duplex, ServerResponse>();
  const settings = {
    // An upload takes as long as it takes; one that hardly moves is cut by `progress`.
    requestTimeout: 0,
    headersTimeout: limits.headerTimeoutMs,
    connectionsCheckingInterval: lookMs(limits.headerTimeoutMs),
    maxHeaderSize: limits.headerBytes,
    noDelay: true,
  };
  const handle: RequestListener = (request, response) => {
    if (draining) response.setHeader('Connection', 'close');
    answers.set(request.socket, response);
    progress.watch(request, response);
    response.once('close', () => {
      // A connection that was busy when draining began is kept alive by default.
      if (draining) setImmediate(() => server.closeIdleConnections());
    });
    listener(request, response);
  };
  const secured =
    tls === undefined
      ? undefined
      : createTlsServer(
          {
            ...settings,
            ...tls,
            ...(tls.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true }),
            handshakeTimeout: limits.headerTimeoutMs,
          },
          handle,
        );
  const server = secured ?? createServer(settings, handle);
  // Node drops headers beyond a number without a word; limits/request-shape.ts counts them.
  server.maxHeadersCount = 0;
  server.setTimeout(idleTimeoutMs);
  // Node's five seconds begin when the last byte is handed to the kernel, which over a slow link is long before the
  // client has it: a bundle must not lose its connection meanwhile.
  server.keepAliveTimeout = idleTimeoutMs;
  server.maxConnections = limits.connections;
  const connections = new ConnectionCount(limits.connectionsPerClient);
  server.on('connection', (socket: Socket) => connections.admit(socket));
  server.on('clientError', (error: Error, socket: Duplex) => {
    const answer = answers.get(socket);
    answerClientError(error, socket, answer?.headersSent === true && !answer.writableFinished);
  });
  const looking = setInterval(() => {
    const cut = progress.sweep();
    if (cut > 0) options.onSlow?.(cut);
  }, lookMs(limits.bodyGraceMs));
  looking.unref();
  server.once('close', () => clearInterval(looking));
  server.listen(options.port, options.host);
  await once(server, 'listening');
  return {
    address: addressOf(server),
    draining: () => draining,
    secure: (next) => {
      if (secured === undefined) throw new TypeError('this server speaks plain HTTP');
      secured.setSecureContext(next);
    },
    close: (cut) => {
      draining = true;
      return closeServer(server, cut);
    },
  };
}

function lookMs(withinMs: number): number {
  return Math.max(1, Math.min(MAX_LOOK_MS, Math.floor(withinMs / LOOKS)));
}

function closeServer(server: Server | TlsServer, cut: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const cutAll = () => server.closeAllConnections();
    server.close((error) => {
      cut.removeEventListener('abort', cutAll);
      if (error === undefined) resolve();
      else reject(error);
    });
    server.closeIdleConnections();
    if (cut.aborted) cutAll();
    else cut.addEventListener('abort', cutAll, { once: true });
  });
}

function addressOf(server: Server | TlsServer): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('not listening on a TCP port');
  return address;
}
