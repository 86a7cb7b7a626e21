import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free one. */
  readonly port: number;
  readonly idleTimeoutMs: number;
}

/** A listening server that can be drained. */
export interface HttpServer {
  readonly address: AddressInfo;
  readonly draining: () => boolean;
  /** Stops listening, lets requests in flight finish, and cuts them once `cut` is aborted. */
  close(cut: AbortSignal): Promise<void>;
}

/** Header lines of one request, all together. Tokens are long. */
const MAX_HEADER_BYTES = 64 << 10;

/** @throws where the address cannot be listened on. */
export async function listen(listener: RequestListener, options: ListenOptions): Promise<HttpServer> {
  let draining = false;
  const server = createServer(
    {
      // An upload takes as long as it takes; a connection on which nothing moves is closed by its time-out.
      requestTimeout: 0,
      maxHeaderSize: MAX_HEADER_BYTES,
      noDelay: true,
    },
    (request, response) => {
      if (draining) response.setHeader('Connection', 'close');
      response.once('close', () => {
        // A connection that was busy when draining began is kept alive by default.
        if (draining) setImmediate(() => server.closeIdleConnections());
      });
      listener(request, response);
    },
  );
  server.setTimeout(options.idleTimeoutMs);
  // Node's five seconds begin when the last byte is handed to the kernel, which over a slow link is long before the
  // client has it: a bundle must not lose its connection meanwhile.
  server.keepAliveTimeout = options.idleTimeoutMs;
  server.listen(options.port, options.host);
  await once(server, 'listening');
  return {
    address: addressOf(server),
    draining: () => draining,
    close: (cut) => {
      draining = true;
      return closeServer(server, cut);
    },
  };
}

function closeServer(server: Server, cut: AbortSignal): Promise<void> {
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

function addressOf(server: Server): AddressInfo {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('not listening on a TCP port');
  return address;
}
