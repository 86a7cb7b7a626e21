import { chmod, lstat, mkdir, mkdtemp, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { type Server, ServerCredentials } from '@grpc/grpc-js';

/** Longest path of a Unix socket in bytes (sun_path less its NUL, unix(7)). */
const SOCKET_PATH_MAX_BYTES = 107;
/** How long calls under way may go on after `close`, before they are cut. */
export const CLOSE_GRACE_MS = 5000;

export type ListeningServer = { close(): Promise<void> };

/**
 * Lets a gRPC server listen on the Unix socket `socketPath`, which only root may open (0600). Its directory is
 * made when missing; the socket of a process that is gone is replaced. The socket is bound under another name in
 * a private directory and renamed when its mode is set, so that it is never open to others.
 *
 * @throws {Error} when a process answers on the socket, the path is something else than a socket, or too long.
 */
export async function listenOnSocket(
  server: Server,
  socketPath: string,
  closeGraceMs: number = CLOSE_GRACE_MS,
): Promise<ListeningServer> {
  const directory = dirname(socketPath);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  await assertReplaceable(socketPath);
  const drafts = await mkdtemp(join(directory, '.s'));
  const draft = join(drafts, 's');
  try {
    if (Buffer.byteLength(draft) > SOCKET_PATH_MAX_BYTES) {
      throw new Error(`socket path ${socketPath} is too long for a Unix socket`);
    }
    await bind(server, draft);
    await chmod(draft, 0o600);
    await rename(draft, socketPath);
  } catch (error) {
    server.forceShutdown();
    await rm(drafts, { recursive: true, force: true });
    throw error;
  }
  await rmdir(drafts);
  const { ino } = await lstat(socketPath);
  return {
    close: async () => {
      await shutDown(server, closeGraceMs);
      // another process may have taken the path meanwhile
      const found = await lstat(socketPath).catch(ignoreMissing);
      if (found?.ino === ino) await unlink(socketPath).catch(ignoreMissing);
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

async function assertReplaceable(path: string): Promise<void> {
  const found = await lstat(path).catch(ignoreMissing);
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error(`${path} is in the way: it is not a socket`);
  if (await answers(path)) throw new Error(`another process listens on ${path}`);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
  return undefined;
}
