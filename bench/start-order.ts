/**
 * How much of a bundle has to arrive before a container is ready when nobody has traced its image yet: the files
 * that its command really opens, as strace(1) sees them in a chroot, looked for in the order of sending. Once with
 * the order by directories alone, once with what ingest found out about the command.
 * Usage (root, strace, umoci): npm run -s bench:start-order [-- --image LAYOUT:TAG --ready TEXT] [-- --list]
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { imageProcess } from '../extensions/starlight/image-command.ts';
import { ImageStore, type LoadedImage } from '../extensions/starlight/image-store.ts';
import { Ingester } from '../extensions/starlight/ingest.ts';
import { planDelta } from '../extensions/starlight/optimizer/plan-delta.ts';
import type { StartOrder } from '../extensions/starlight/optimizer/start-order.ts';
import { walk } from '../extensions/starlight/optimizer/walk.ts';
import { convert } from '../schemas/image/convert.ts';
import { LayoutSink } from '../schemas/image/layout-sink.ts';
import { LayoutSource } from '../schemas/image/layout-source.ts';
import { NONE } from '../schemas/toc/tree.ts';
import { demoImages } from '../scripts/demo/images.ts';
import { run } from '../scripts/lib/child.ts';
import { freePort } from '../scripts/lib/free-port.ts';
import { openDirectory } from '../server/directory/open.ts';
import { LayoutReader } from './layout-reader.ts';
import { openedFiles } from './opened-files.ts';

const { values } = parseArgs({
  options: {
    image: { type: 'string' },
    ready: { type: 'string' },
    list: { type: 'boolean', default: false },
  },
});
const SIGNAL = AbortSignal.timeout(600_000);

/** Payload bytes up to the end of the last one that brings one of `wanted`, and of all. */
function bytesUntil(image: LoadedImage, start: StartOrder, wanted: ReadonlySet<number>) {
  const { layerContents, shown } = image;
  const { files, payloads } = planDelta([{ layers: layerContents, shown, start, ranks: [] }], []);
  const rows = new Set([...wanted].map((content) => shown.content[content] ?? NONE));
  let last = -1;
  for (const [at, content] of files.content.entries()) if (rows.has(content)) last = files.payload[at] ?? 0;
  const sum = (lengths: Float64Array) => lengths.reduce((total, length) => total + length, 0);
  return { until: sum(payloads.length.subarray(0, last + 1)), all: sum(payloads.length) };
}

const directory = await mkdtemp(join(tmpdir(), 'starlight-bench-'));
try {
  const named = values.image ?? `${(await demoImages(SIGNAL)).layout}:old`;
  const at = named.lastIndexOf(':');
  const [layout, tag] = [named.slice(0, at), named.slice(at + 1)];
  const converted = join(directory, 'converted');
  const source = new LayoutSource(layout, tag);
  const { root } = await convert(source, new LayoutSink(converted, tag), {}, SIGNAL);

  const database = await openDirectory({ kind: 'pglite' });
  const images = new ImageStore(database, 1 << 30);
  const reader = new LayoutReader(converted);
  const ingester = new Ingester({ directory: database, images, onStartUnknown: console.error });
  const beganMs = performance.now();
  await ingester.ingest({ registry: '', reader, name: 'image', auth: undefined }, root.digest, SIGNAL);
  const ingestMs = performance.now() - beganMs;
  const image = await images.image(root.digest, SIGNAL);
  if (image === undefined) throw new Error('the image was not ingested');

  await run('umoci', ['unpack', '--image', named, join(directory, 'bundle')], {
    timeoutMs: 300_000,
    signal: SIGNAL,
  });
  const process = imageProcess(image.record.config.bytes);
  const ready = values.ready ?? 'Ready to accept connections';
  const port = values.image === undefined ? ['--port', String(await freePort())] : [];
  const opened = await openedFiles({
    root: join(directory, 'bundle/rootfs'),
    ...process,
    command: [...process.command, ...port],
    ready,
    traceFile: join(directory, 'trace'),
    signal: SIGNAL,
  });
  const { tree, start } = image;
  const wanted = new Map<number, string>();
  for (const path of opened) {
    const inode = walk(tree, path);
    const content = inode < 0 ? NONE : (tree.content[inode] ?? NONE);
    if (content !== NONE) wanted.set(content, path);
  }
  const contents = new Set(wanted.keys());
  const megabytes = (bytes: number) => (bytes / 1e6).toFixed(2);
  const line = (what: string, order: StartOrder) => {
    const { until, all } = bytesUntil(image, order, contents);
    return `| ${what} | ${megabytes(until)} | ${megabytes(all)} | ${((100 * until) / all).toFixed(0)} % |`;
  };
  const known = new Set(start);
  const unknown = [...wanted].filter(([content]) => !known.has(content)).map(([, path]) => path);
  console.log(
    [
      `${process.command.join(' ')}: opens ${wanted.size} files until it says "${ready}"; ${start.length} were`,
      `found at ingest (${reader.rangeReads} range reads of ${megabytes(reader.rangeBytes)} MB; the whole ingest`,
      `took ${(ingestMs / 1000).toFixed(1)} s), without ${unknown.length}: ${unknown.join(' ') || 'none'}`,
      '',
      '| payloads, MB | until ready | all | |',
      '|---|--:|--:|--:|',
      line('by directories alone', new Uint32Array(0)),
      line('by what the command needs', start),
      line('nothing but what is opened', Uint32Array.from(contents)),
    ].join('\n'),
  );
  if (values.list) {
    const first = new Map<number, number>();
    for (const [inode, content] of tree.content.entries()) if (!first.has(content)) first.set(content, inode);
    for (const content of start) {
      const path = Buffer.from(tree.firstPath(first.get(content) ?? 0)).toString();
      console.log(`${wanted.has(content) ? 'opened' : '      '} ${tree.contentSize[content]} ${path}`);
    }
  }
  await database.close();
} finally {
  await rm(directory, { recursive: true, force: true });
}
