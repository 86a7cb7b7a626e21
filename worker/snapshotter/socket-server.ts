import { type Server, ServerCredentials } from '@grpc/grpc-js';
import { openSocket, type UnixSocket } from '../unix-socket.ts';

/** How long calls under way may go on after `close`, before they are cut. */
export const CLOSE_GRACE_MS = 5000;

export type ListeningServer = { close(): Promise<void> };

/**
 * Lets a gRPC server listen on the Unix socket `socketPath`.
 *
 * @throws {Error} as openSocket() does; the server is shut down then.
 */
export async function listenOnSocket(
  server: Server,
  socketPath: string,
  closeGraceMs: number = CLOSE_GRACE_MS,
): Promise<ListeningServer> {
  let socket: UnixSocket;
  try {
    socket = await openSocket(socketPath, (draft) => bind(server, draft));
  } catch (error) {
    server.forceShutdown();
    throw error;
  }
  return {
    close: async () => {
      await shutDown(server, closeGraceMs);
      await socket.release();
    },
  };
}

function bind(server: Server, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(error);
    });
  });
}

async function shutDown(server: Server, graceMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    server.forceShutdown();
    resolve(); // tryShutdown need not answer any more
  }, graceMs);
  server.tryShutdown(() => resolve());
  await promise;
  clearTimeout(timer);
}
