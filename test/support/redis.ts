import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prints, Server } from '../../scripts/lib/child.ts';
import { freePort } from '../../scripts/lib/free-port.ts';

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
  let server: Server | undefined;
  const start = async () => {
    const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    server ??= await Server.start(
      {
        command: 'redis-server',
        args: [...settings, '--dir', root, ...extra],
        logFile: join(root, 'redis.log'),
      },
      prints(/[Rr]eady to accept connections/),
    );
  };
  const stop = async () => {
    server?.signal('SIGCONT');
    await server?.stop('SIGKILL');
    server = undefined;
  };
  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    freeze: () => server?.signal('SIGSTOP'),
    thaw: () => server?.signal('SIGCONT'),
    start,
    stop,
    async destroy() {
      await stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}
