import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../scripts/lib/free-port.ts';
import { type ServerProcess, startServer } from './server-process.ts';

export interface RedisServer {
  readonly url: string;
  /** Makes it hang, as a host does that has gone: connections stay, nothing answers. */
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
  /** Starts it again on the same port, empty. */
  start(): Promise<void>;
  /** Stops it and removes everything. */
  destroy(): Promise<void>;
}

/** A private Redis from Debian's package, nothing on disk. */
export async function startRedis(extra: readonly string[] = []): Promise<RedisServer> {
  const root = await mkdtemp(join(tmpdir(), 'starlight-redis-'));
  const port = await freePort();
  let server: ServerProcess | undefined;
  const start = async () => {
    const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    server ??= await startServer({
      command: 'redis-server',
      args: [...settings, '--dir', root, ...extra],
      ready: /[Rr]eady to accept connections/,
    });
  };
  const stop = async () => {
    server?.child.kill('SIGCONT');
    await server?.stop('SIGKILL');
    server = undefined;
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    freeze: () => server?.child.kill('SIGSTOP'),
    thaw: () => server?.child.kill('SIGCONT'),
    start,
    stop,
    async destroy() {
      await stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}
