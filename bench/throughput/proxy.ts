import { join } from 'node:path';
import { answers, Server } from '../../scripts/lib/child.ts';
import { freePort } from '../../scripts/lib/free-port.ts';

const PROXY = new URL('../../bin/starlight-proxy', import.meta.url).pathname;
const START_LIMIT_MS = 90_000;

/** A proxy with its files in `directory`, which logs as little as the others that are measured. */
export async function startProxy(directory: string, flags: readonly string[]): Promise<[Server, string]> {
  const port = await freePort();
  const own = ['--listen-port', String(port), '--log-level', 'warn'];
  const files = ['--storage-dir', join(directory, 'registry'), '--database-dir', join(directory, 'db')];
  const server = await Server.start(
    { command: PROXY, args: [...own, ...files, ...flags], logFile: join(directory, 'proxy.log') },
    answers(`http://127.0.0.1:${port}/readyz`),
    START_LIMIT_MS,
  );
  return [server, `127.0.0.1:${port}`];
}
