import { chmod, lstat, mkdtemp, rename, rm, rmdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { makeDirectory } from '../schemas/disk/make-directory.ts';
import { isMissing } from '../schemas/process/system-error.ts';

/** Longest path of a Unix socket in bytes (sun_path less its NUL, unix(7)). */
const PATH_MAX_BYTES = 107;

/** A Unix socket that a server of this process listens on. */
export interface UnixSocket {
  /** Removes it from the file system, unless another process has taken its path meanwhile. */
  release(): Promise<void>;
}

/**
 * Lets a server listen on the Unix socket `path`, which only its owner may open (0600). Its directory is made when
 * missing; the socket of a process that is gone is replaced. The server is bound, by `listen`, under another name
 * in a private directory, and the socket renamed when its mode is set, so that it is never open to others.
 *
 * @throws {Error} when a process answers on the socket, the path is something else than a socket, or too long; what
 * `listen` throws. The server may listen already: the caller closes it.
 */
export async function openSocket(
  path: string,
  listen: (draft: string) => Promise<unknown>,
): Promise<UnixSocket> {
  const directory = dirname(path);
  await makeDirectory(directory, 0o755);
  await assertReplaceable(path);
  const drafts = await mkdtemp(join(directory, '.s'));
  const draft = join(drafts, 's');
  try {
    if (Buffer.byteLength(draft) > PATH_MAX_BYTES) {
      throw new Error(`socket path ${path} is too long for a Unix socket`);
    }
    await listen(draft);
    await chmod(draft, 0o600);
    await rename(draft, path);
  } catch (error) {
    await rm(drafts, { recursive: true, force: true });
    throw error;
  }
  await rmdir(drafts);
  const { ino } = await lstat(path);
  return {
    release: async () => {
      const found = await lstat(path).catch(ignoreMissing);
      if (found?.ino === ino) await unlink(path).catch(ignoreMissing);
    },
  };
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
      if (error.code === 'ECONNREFUSED' || isMissing(error)) resolve(false);
      else reject(error);
    });
  });
}

function ignoreMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
  return undefined;
}
