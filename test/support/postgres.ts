import { execFile } from 'node:child_process';
import { chown, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ServerProcess, startServer } from './server-process.ts';

const run = promisify(execFile);

export interface PostgresServer {
  /** Reached over a Unix socket in a directory of its own. */
  readonly url: string;
  /** Makes an empty database and answers its URL. */
  createDatabase(name: string): Promise<string>;
  /** Ends all connections and the server; `start` brings it back with its data. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Stops it and removes everything. */
  destroy(): Promise<void>;
}

/** PostgreSQL refuses to run as root, so there it runs as the user that Debian's package made. */
async function unprivileged(): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {};
  const id = async (flag: string) => Number((await run('id', [flag, 'postgres'])).stdout);
  return { uid: await id('-u'), gid: await id('-g') };
}

async function binaries(): Promise<string> {
  const root = '/usr/lib/postgresql';
  const versions = (await readdir(root)).sort((a, b) => Number(b) - Number(a));
  return join(root, versions[0] ?? '', 'bin');
}

/** A private PostgreSQL from Debian's package: new cluster, temporary directory, no TCP port. */
export async function startPostgres(): Promise<PostgresServer> {
  const user = await unprivileged();
  const bin = await binaries();
  const root = await mkdtemp(join(tmpdir(), 'starlight-postgres-'));
  if (user.uid !== undefined) await chown(root, user.uid, user.gid ?? user.uid);
  const data = join(root, 'data');
  const options = { ...user, cwd: root, env: { LC_ALL: 'C', PATH: process.env['PATH'] ?? '' } };
  const setup = ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8'];
  await run(join(bin, 'initdb'), setup, options);

  let server: ServerProcess | undefined;
  const start = async () => {
    server ??= await startServer({
      command: join(bin, 'postgres'),
      args: ['-D', data, '-k', root, '-c', 'listen_addresses=', '-c', 'fsync=off'],
      ...options,
      ready: /ready to accept connections/,
    });
  };
  const stop = async () => {
    await server?.stop('SIGINT'); // "fast": sessions are ended, not waited for
    server = undefined;
  };
  const urlOf = (database: string) => `postgres://postgres@/${database}?host=${encodeURIComponent(root)}`;
  await start();
  return {
    url: urlOf('postgres'),
    async createDatabase(name) {
      await run(join(bin, 'createdb'), ['-h', root, '-U', 'postgres', name], options);
      return urlOf(name);
    },
    start,
    stop,
    async destroy() {
      await stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}
