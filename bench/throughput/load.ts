import { run } from '../../scripts/lib/child.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';

/** What wrk(1) counted over one run. */
export interface Load {
  readonly durationUs: number;
  readonly requests: number;
  readonly bytes: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly errors: number;
}

const SCRIPT = new URL('load.lua', import.meta.url).pathname;

/**
 * Asks for `url` as fast as it is answered, over `clients` connections at once, each asking again as soon as it has
 * its answer; `headers` are whole lines. wrk runs in one thread, so that it takes one core at most.
 *
 * @throws {Error} where it failed, or where an answer was not 2xx.
 */
export async function load(
  url: string,
  clients: number,
  seconds: number,
  headers: readonly string[] = [],
): Promise<Load> {
  const flags = [
    '-t1',
    `-c${clients}`,
    `-d${seconds}s`,
    '--timeout',
    '60s',
    '-H',
    `Accept: ${MEDIA_TYPE.ociManifest}`,
    ...headers.flatMap((header) => ['-H', header]),
    '-s',
    SCRIPT,
  ];
  const out = await run('wrk', [...flags, url]);
  const line = out.split('\n').find((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`wrk printed no counts:\n${out}`);
  const counts = JSON.parse(line) as Load; // printed by load.lua
  if (counts.errors > 0) throw new Error(`${url}: ${counts.errors} of ${counts.requests} requests failed`);
  return counts;
}
