// What an origin is asked and sends when many pull one image through the proxy: `npm run -s bench:mirror`.
// The origin is a docker-registry, and the figures are from its own access log. `--clients N`, `--nodes N`.

import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { MEDIA_TYPE } from '../schemas/oci/media-types.ts';
import { DockerRegistry } from '../test/support/docker-registry.ts';
import { originRequests } from '../test/support/origin-log.ts';
import { ProxyProcess } from '../test/support/proxy-process.ts';
import { type PushedImage, pushImage } from '../test/support/push-image.ts';
import { randomly } from '../test/support/randomly.ts';

const MIB = 1 << 20;
const LAYER_BYTES = [31 * MIB, 17 * MIB + 4711, 9 * MIB + 1, 700_000];
/** stargz-snapshotter's `chunk_size`: what it asks for begins and ends at multiples of this. */
const CHUNK_BYTES = 50_000;
/** How many requests one of its nodes has under way. */
const CONCURRENCY = 6;
/** Share of a layer's chunks that a container opens, before the rest is fetched in the background. */
const OPENED = 0.3;

const sha256 = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

interface Clients {
  requests: number;
  bytes: number;
}

function bytesOf(sizeBytes: number, seed: number): Buffer {
  const { below } = randomly(seed);
  const bytes = Buffer.alloc(sizeBytes);
  for (let at = 0; at + 4 <= sizeBytes; at += 4) bytes.writeUInt32LE(below(2 ** 32), at);
  return bytes;
}

async function expect(answer: Promise<Response>, ...statuses: readonly number[]): Promise<Buffer> {
  const response = await answer;
  const body = Buffer.from(await response.arrayBuffer());
  if (!statuses.includes(response.status)) throw new Error(`${response.status} for ${response.url}`);
  return body;
}

/** As containerd does it. */
async function pull(base: string, { manifest, blobs }: PushedImage, clients: Clients): Promise<void> {
  const get = async (path: string, method = 'GET'): Promise<Buffer> => {
    const body = await expect(
      fetch(`${base}/v2/image/${path}`, { method, headers: { Accept: MEDIA_TYPE.ociManifest } }),
      200,
    );
    clients.requests += 1;
    clients.bytes += body.length;
    return body;
  };
  await get('manifests/v1', 'HEAD');
  await get(`manifests/${sha256(manifest)}`);
  await Promise.all(
    blobs.map(async (bytes) => {
      if (!(await get(`blobs/${sha256(bytes)}`)).equals(bytes)) throw new Error('other bytes were pulled');
    }),
  );
}

/**
 * One node that pulls a layer lazily as stargz-snapshotter 0.19 does (fs/remote): size by HEAD, two bytes to see that
 * ranges work, the footer, then chunks, several ranges in a request, in the order in which files are opened, and in
 * the end all that is missing in the background.
 */
async function pullLazily(base: string, bytes: Buffer, seed: number, clients: Clients): Promise<void> {
  const url = `${base}/v2/image/blobs/${sha256(bytes)}`;
  const chunks = Math.ceil(bytes.length / CHUNK_BYTES);
  const span = (chunk: number) =>
    [chunk * CHUNK_BYTES, Math.min((chunk + 1) * CHUNK_BYTES, bytes.length) - 1] as const;
  const get = async (ranges: readonly (readonly [number, number])[]): Promise<void> => {
    const Range = `bytes=${ranges.map(([start, end]) => `${start}-${end}`).join(',')}`;
    const body = await expect(fetch(url, { headers: { Range } }), 206);
    clients.requests += 1;
    clients.bytes += body.length;
    for (const [start, end] of ranges) {
      if (body.indexOf(bytes.subarray(start, end + 1)) < 0) throw new Error('other bytes were sent');
    }
  };
  await expect(fetch(url, { method: 'HEAD' }), 200);
  await get([[0, 1]]);
  await get([span(chunks - 1)]);
  const { below } = randomly(seed);
  const order = Array.from({ length: chunks }, (_, chunk) => [below(2 ** 32), chunk] as const)
    .sort(([a], [b]) => a - b)
    .map(([, chunk]) => chunk);
  const opened = order.slice(0, Math.ceil(chunks * OPENED));
  const rest = order.slice(opened.length).sort((a, b) => a - b);
  const requests = [...opened.map((chunk) => [span(chunk)])];
  for (let at = 0; at < rest.length; at += 4) requests.push(rest.slice(at, at + 4).map(span));
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (let next = requests.shift(); next !== undefined; next = requests.shift()) await get(next);
    }),
  );
}

interface Row {
  readonly what: string;
  readonly clients: Clients;
  readonly gets: number;
  readonly heads: number;
  readonly originBytes: number;
  readonly wholeBytes: number;
  /** The most GET requests for one blob. */
  readonly mostPerBlob: number;
}

async function measured(
  what: string,
  log: string,
  wholeBytes: number,
  work: (clients: Clients) => Promise<void>,
): Promise<Row> {
  const before = (await originRequests(log)).length;
  const clients: Clients = { requests: 0, bytes: 0 };
  await work(clients);
  const asked = (await originRequests(log)).slice(before);
  const gets = asked.filter((one) => one.method === 'GET');
  const perBlob = Map.groupBy(
    gets.filter((one) => one.path.includes('/blobs/')),
    (one) => one.path,
  );
  return {
    what,
    clients,
    gets: gets.length,
    heads: asked.length - gets.length,
    originBytes: gets.reduce((sum, one) => sum + one.sizeBytes, 0),
    wholeBytes,
    mostPerBlob: Math.max(0, ...[...perBlob.values()].map((list) => list.length)),
  };
}

function print(rows: readonly Row[]): void {
  const number = (value: number) => value.toLocaleString('en');
  console.log(
    '| | clients: requests | bytes | origin: GET | HEAD | bytes | of the content | most GETs for a blob |',
  );
  console.log('|---|--:|--:|--:|--:|--:|--:|--:|');
  for (const { what, clients, gets, heads, originBytes, wholeBytes, mostPerBlob } of rows) {
    const cells = [what, number(clients.requests), number(clients.bytes), number(gets), number(heads)];
    cells.push(number(originBytes), `${(originBytes / wholeBytes).toFixed(4)} ×`, number(mostPerBlob));
    console.log(`| ${cells.join(' | ')} |`);
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { clients: { type: 'string', default: '50' }, nodes: { type: 'string', default: '4' } },
  });
  const clientCount = Number(values.clients);
  const nodeCount = Number(values.nodes);
  const directory = await mkdtemp(join(tmpdir(), 'starlight-bench-mirror-'));
  try {
    await using origin = await DockerRegistry.start(directory);
    const log = join(directory, 'registry.log');
    const layers = LAYER_BYTES.map((sizeBytes, at) => bytesOf(sizeBytes, at + 1));
    const image = await pushImage(origin.host, 'image', 'v1', [Buffer.from('{}'), ...layers]);
    const imageBytes = image.blobs.reduce((sum, one) => sum + one.length, image.manifest.length);
    const rows: Row[] = [];
    const through = async (
      how: string,
      flags: readonly string[],
      work: (base: string) => Promise<Row>,
    ): Promise<void> => {
      const upstream = ['--upstream-url', `http://${origin.host}`];
      await using proxy = await ProxyProcess.start(directory, [...upstream, ...flags]);
      const row = await work(proxy.url);
      rows.push({ ...row, what: `${row.what}, ${how}` });
    };
    const many = (base: string, count: number) =>
      measured(`${count} cold pulls at once`, log, imageBytes, async (clients) => {
        await Promise.all(Array.from({ length: count }, () => pull(base, image, clients)));
      });
    const layer = image.blobs[1] ?? Buffer.alloc(0);
    const lazily = (base: string) =>
      measured(`${nodeCount} nodes, one layer lazily`, log, layer.length, async (clients) => {
        await Promise.all(
          Array.from({ length: nodeCount }, (_, at) => pullLazily(base, layer, at + 1, clients)),
        );
      });
    const cache = (name: string) => [
      '--mirror-dir',
      join(directory, name),
      '--mirror-max-bytes',
      String(1 << 30),
    ];
    await through('passed through', [], (base) => many(base, clientCount));
    await through('cached', cache('one'), (base) => many(base, clientCount));
    await through('passed through', [], lazily);
    await through('cached', cache('two'), lazily);
    print(rows);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

await main();
