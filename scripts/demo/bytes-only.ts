import { join } from 'node:path';
import { freePort } from '../lib/free-port.ts';
import { answers, run, Server } from '../lib/child.ts';
import { formatBytes, formatTable } from '../../worker/cli/terminal.ts';
import { layoutLayers } from '../lib/layout.ts';
import type { DemoImages } from './images.ts';

const BIN = new URL('../../bin/', import.meta.url).pathname;

/** A database made anew, on a busy machine. */
const READY_LIMIT_MS = 60_000;

/** What can be shown without root: how many bytes a puller of layers and one of delta bundles have to fetch. */
export async function bytesOnly(
  directory: string,
  images: DemoImages,
  say: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const port = await freePort();
  const registry = `127.0.0.1:${port}`;
  const args = [
    ...['--listen-port', String(port), '--storage-dir', join(directory, 'registry')],
    ...['--database-dir', join(directory, 'database')],
  ];
  const logFile = join(directory, 'proxy.log');
  const ready = answers(`http://${registry}/readyz`);
  const command = `${BIN}starlight-proxy`;
  await using _proxy = await Server.start({ command, args, logFile, signal }, ready, READY_LIMIT_MS);
  const digests: Record<string, string> = {};
  for (const version of ['old', 'new'] as const) {
    const flags = ['--notify', '--proxy', `http://${registry}`, '--insecure-destination'];
    const target = `${registry}/starlight/redis:${version}`;
    const source = `oci:${images.layout}:${version}`;
    await run(`${BIN}ctr-starlight`, ['convert', ...flags, source, target], { signal });
    const head = await fetch(`http://${registry}/v2/starlight/redis/manifests/${version}`, {
      method: 'HEAD',
      signal,
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    digests[version] = head.headers.get('docker-content-digest') ?? '';
  }
  const old = await layoutLayers(images.layout, 'old');
  const layers = await layoutLayers(images.layout, 'new');
  const sum = (list: readonly { size: number }[]) => list.reduce((total, layer) => total + layer.size, 0);
  const lacking = layers.filter((layer) => !old.some((other) => other.digest === layer.digest));
  const delta = async (from: string) => {
    const url = `http://${registry}/starlight/delta?to=starlight/redis:new${from}`;
    return (await (await fetch(url, { signal })).arrayBuffer()).byteLength;
  };
  const fresh = await delta('');
  const update = await delta(`&from=starlight/redis@${digests['old']}`);
  const share = (part: number, whole: number) => `${((100 * part) / whole).toFixed(0)} %`;
  say(
    `\n${formatTable([
      ['redis', 'layers', 'delta bundle', 'share'],
      ['fresh', formatBytes(sum(layers)), formatBytes(fresh), share(fresh, sum(layers))],
      ['update', formatBytes(sum(lacking)), formatBytes(update), share(update, sum(lacking))],
    ])}`,
  );
}
