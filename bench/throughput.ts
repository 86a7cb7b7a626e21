/**
 * What a client gets from the proxy as a registry: bytes of a blob and answers for a manifest, beside nginx serving
 * the same bytes as files and docker-registry serving the same image, with the same client (wrk) in the same run.
 * Usage: npm run -s bench:throughput [-- --seconds N] [-- --blob-mib N] [-- --rounds N]
 */
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Server } from '../scripts/lib/child.ts';
import { digestOf } from '../schemas/oci/digest.ts';
import { DockerRegistry } from '../test/support/docker-registry.ts';
import { pushImage } from '../test/support/push-image.ts';
import { load } from './throughput/load.ts';
import { startNginx } from './throughput/nginx.ts';
import { processCost } from './throughput/process-cost.ts';
import { startProxy } from './throughput/proxy.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    'blob-mib': { type: 'string', default: '64' },
    rounds: { type: 'string', default: '3' },
  },
});
const SECONDS = Math.max(1, Number.parseInt(values.seconds, 10) || 1);
const ROUNDS = Math.max(1, Number.parseInt(values.rounds, 10) || 1);
const BLOB_BYTES = Math.max(1, Number.parseInt(values['blob-mib'], 10) || 1) << 20;
const CLIENTS = [1, 16, 128] as const;
const WARM_UP_SECONDS = 4;

interface Target {
  readonly name: string;
  readonly host: string;
  /** Whose processor time and memory count: a server and, where it asks another one, that one is not counted. */
  readonly server: Server;
}

interface Result {
  readonly perSecond: number;
  readonly mbPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuSeconds: number;
  readonly bytes: number;
  readonly requests: number;
}

const root = await mkdtemp(join(tmpdir(), 'sl-bench-throughput-'));
await using stack = new AsyncDisposableStack();
stack.defer(() => rm(root, { recursive: true, force: true }));

// What no compression makes smaller.
const blob = randomBytes(BLOB_BYTES);
const blobs = [Buffer.from('{"architecture":"amd64","os":"linux"}'), blob];
const directory = async (name: string) => {
  const path = join(root, name);
  await mkdir(path);
  return path;
};

const registry = stack.use(await DockerRegistry.start(await directory('docker-registry')));
const [embedded, embeddedHost] = await startProxy(await directory('embedded'), []);
stack.use(embedded);
const upstream = ['--upstream-url', `http://${registry.host}`];
const [passing, passingHost] = await startProxy(await directory('passing'), upstream);
stack.use(passing);
const cacheDirectory = await directory('cached');
const [cached, cachedHost] = await startProxy(cacheDirectory, [
  ...upstream,
  ...['--mirror-dir', join(cacheDirectory, 'mirror'), '--mirror-max-bytes', String(4 * BLOB_BYTES)],
]);
stack.use(cached);
const image = await pushImage(registry.host, 'bench', '1', blobs);
await pushImage(embeddedHost, 'bench', '1', blobs);
const [nginx, nginxHost] = await startNginx(await directory('nginx'), image);
stack.use(nginx);

const targets: readonly Target[] = [
  { name: 'nginx, a file', host: nginxHost, server: nginx },
  { name: 'docker-registry', host: registry.host, server: registry.server },
  { name: 'proxy, embedded', host: embeddedHost, server: embedded },
  { name: 'proxy, cached', host: cachedHost, server: cached },
  { name: 'proxy, passed through', host: passingHost, server: passing },
];

async function measured(target: Target, path: string, clients: number): Promise<Result> {
  const before = processCost(target.server.pid);
  const counts = await load(`http://${target.host}${path}`, clients, SECONDS);
  const after = processCost(target.server.pid);
  const seconds = counts.durationUs / 1e6;
  return {
    perSecond: counts.requests / seconds,
    mbPerSecond: counts.bytes / seconds / 1e6,
    p50Ms: counts.p50Us / 1000,
    p99Ms: counts.p99Us / 1000,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    bytes: counts.bytes,
    requests: counts.requests,
  };
}

/** The middle one of several rounds. The rounds go round all targets, so that a busy minute hits all alike. */
async function rounds(path: string, clients: number, key: 'perSecond' | 'mbPerSecond'): Promise<Result[]> {
  const results: Result[][] = targets.map(() => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [row, target] of targets.entries()) results[row]?.push(await measured(target, path, clients));
  }
  return results.map((list) => {
    const middle = list.toSorted((a, b) => a[key] - b[key])[list.length >> 1];
    if (middle === undefined) throw new Error('no round was run');
    return middle;
  });
}

const paths = { blob: `/v2/bench/blobs/${digestOf(blob)}`, manifest: '/v2/bench/manifests/1' };
for (const target of targets) {
  // A server is measured as it is after some minutes: what JavaScript runs often is compiled by then.
  await load(`http://${target.host}${paths.manifest}`, 16, WARM_UP_SECONDS);
  await load(`http://${target.host}${paths.blob}`, 16, WARM_UP_SECONDS, ['Range: bytes=0-131071']);
  await load(`http://${target.host}${paths.blob}`, 4, 1);
  await writeFile(`/proc/${target.server.pid}/clear_refs`, '5'); // proc(5): the peak is counted from here on
}

const line = (...cells: readonly string[]) => console.log(`| ${cells.join(' | ')} |`);
console.log(`A blob of ${BLOB_BYTES >> 20} MiB, ${ROUNDS} rounds of ${SECONDS} s, the median round.\n`);
line('', 'clients', 'MB/s', 'of nginx', 'CPU s per GB', 'per core, of nginx', 'p50 ms', 'p99 ms');
line('---', '--:', '--:', '--:', '--:', '--:', '--:', '--:');
for (const clients of CLIENTS) {
  const results = await rounds(paths.blob, clients, 'mbPerSecond');
  const perGb = (result: Result) => result.cpuSeconds / (result.bytes / 1e9);
  const [reference] = results;
  if (reference === undefined) throw new Error('no target');
  for (const [row, result] of results.entries()) {
    line(
      targets[row]?.name ?? '',
      String(clients),
      result.mbPerSecond.toFixed(0),
      (result.mbPerSecond / reference.mbPerSecond).toFixed(2),
      perGb(result).toFixed(3),
      (perGb(reference) / perGb(result)).toFixed(2),
      result.p50Ms.toFixed(1),
      result.p99Ms.toFixed(1),
    );
  }
}
console.log(`\nA manifest of ${image.manifest.length} bytes.\n`);
line('', 'clients', 'requests/s', 'of nginx', 'CPU ms per request', 'p50 ms', 'p99 ms');
line('---', '--:', '--:', '--:', '--:', '--:', '--:');
for (const clients of CLIENTS) {
  const results = await rounds(paths.manifest, clients, 'perSecond');
  for (const [row, result] of results.entries()) {
    line(
      targets[row]?.name ?? '',
      String(clients),
      result.perSecond.toFixed(0),
      (result.perSecond / (results[0]?.perSecond ?? Number.NaN)).toFixed(2),
      ((result.cpuSeconds * 1000) / result.requests).toFixed(3),
      result.p50Ms.toFixed(2),
      result.p99Ms.toFixed(2),
    );
  }
}
console.log('\nPeak memory over all of it, MB: ');
for (const target of targets) {
  console.log(`- ${target.name}: ${(processCost(target.server.pid).peakBytes / 1e6).toFixed(0)}`);
}
