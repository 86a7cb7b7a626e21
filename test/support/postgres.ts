import { chown, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prints, run, Server } from '../../scripts/lib/child.ts';

/** A cluster that is started again after it was ended hard recovers first. */
const START_LIMIT_MS = 60_000;

export interface PostgresServer {
  /** Reached over a Unix socket in a directory of its own. */
  readonly url: string;
  /** Makes an empty database and answers its URL. */
  createDatabase(name: string): Promise<string>;
  /** Ends all connections and the server; `start` brings it back with its data. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Starts it as one that recovers and does not come to an end: "not yet accepting connections", until `promote`. */
  startRecovering(): Promise<void>;
  promote(): Promise<void>;
  /** Stops it and removes everything. */
  destroy(): Promise<void>;
}

/** PostgreSQL refuses to run as root, so there it runs as the user that Debian's package made. */
async function unprivileged(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const id = async (flag: string) => Number(await run('id', [flag, 'postgres']));
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
  if (user !== undefined) await chown(root, user.uid, user.gid);
  const data = join(root, 'data');
  const options = { cwd: root, env: { LC_ALL: 'C' }, ...(user === undefined ? {} : { user }) };
  const setup = ['-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '-E', 'UTF8'];
  await run(join(bin, 'initdb'), setup, options);

  let server: Server | undefined;
  const startUntil = async (printed: RegExp, ...settings: readonly string[]) => {
    const given = ['listen_addresses=', 'fsync=off', ...settings].flatMap((setting) => ['-c', setting]);
    server ??= await Server.start(
      {
        command: join(bin, 'postgres'),
        args: ['-D', data, '-k', root, ...given],
        logFile: join(root, 'postgres.log'),
        ...options,
      },
      prints(printed),
      START_LIMIT_MS,
    );
  };
  const start = () => startUntil(/ready to accept connections/);
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
    async startRecovering() {
      await writeFile(join(data, 'standby.signal'), '');
      if (user !== undefined) await chown(join(data, 'standby.signal'), user.uid, user.gid);
      await startUntil(/entering standby mode/, 'hot_standby=off');
    },
    async promote() {
      await run(join(bin, 'pg_ctl'), ['promote', '-w', '-D', data], options);
    },
    stop,
    async destroy() {
      await stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}
