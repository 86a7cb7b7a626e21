/**
 * How fast a worker stores many small contents: a bundle of them in memory, through the classes that take it in,
 * beside a plain loop of open, write and rename, and beside tar unpacking the same files. And for how long nothing
 * else had a turn meanwhile.
 * Usage: npm run -s bench:store [-- --files N] [-- --directory DIR]
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { makeImage } from '../test/extensions/starlight/made-image.ts';
import { makeBundle } from '../test/support/bundle-server.ts';
import { directory, file, tarBytes } from '../test/support/tar.ts';
import { BundleFeed, type OpenBundle } from '../worker/download/bundle-feed.ts';
import { openBundle } from '../worker/download/bundle-opening.ts';
import { ImageDownload } from '../worker/download/image-download.ts';
import type { ImageWish } from '../worker/download/verify-image.ts';
import { ImageTables } from '../worker/images/trees.ts';
import { ContentStore } from '../worker/store/content-store.ts';

const { values } = parseArgs({
  options: { files: { type: 'string', default: '20000' }, directory: { type: 'string', default: tmpdir() } },
});
const FILES = Math.max(1, Number.parseInt(values.files, 10) || 1);
const CHUNK_BYTES = 65_536;
const SIGNAL = new AbortController().signal;
const root = mkdtempSync(join(values.directory, 'sl-bench-store-'));

/** Files of 20 bytes to 8 kB, most of them small, all different. */
const contents = Array.from({ length: FILES }, (_, n) =>
  Buffer.from(`${n} of ${FILES}\n`.repeat(1 + ((n * n) % 97) * 6)),
);
const entries = contents.map((content, n) => file(`d${Math.floor(n / 50)}/f${n}`, content));
const directories = Array.from({ length: Math.ceil(FILES / 50) }, (_, n) => directory(`d${n}`));
const sizeBytes = contents.reduce((sum, content) => sum + content.length, 0);

async function timed(what: string, run: () => void | Promise<void>): Promise<void> {
  execFileSync('sync', ['--file-system', root]); // nobody pays for the one before
  const delay = monitorEventLoopDelay({ resolution: 1 });
  await new Promise(setImmediate);
  delay.enable();
  await new Promise((resolve) => setTimeout(resolve, 5)); // it counts from its first turn on
  const began = process.cpuUsage();
  const beganMs = performance.now();
  await run();
  const clockMs = performance.now() - beganMs;
  const { user, system } = process.cpuUsage(began);
  await new Promise((resolve) => setTimeout(resolve, 2)); // the monitor counts a turn when it has ended
  delay.disable();
  const perSecond = Math.round((FILES * 1000) / clockMs).toLocaleString('en');
  const processorMs = Math.round((user + system) / 1000);
  const blockedMs = Math.round(delay.max / 1e6);
  console.log(`| ${what} | ${Math.round(clockMs)} | ${processorMs} | ${perSecond} | ${blockedMs} |`);
}

async function* inChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    if ((at / CHUNK_BYTES) % 16 === 15) await new Promise(setImmediate); // a socket has its turns too
    yield bytes.subarray(at, at + CHUNK_BYTES);
  }
}

async function throughTheStore(fsync: 'none' | 'image'): Promise<void> {
  const image = await makeImage([[...directories, ...entries]]);
  const { bytes } = makeBundle(image);
  const store = await ContentStore.open(join(root, fsync), { fsync });
  const backoff = { retries: 0, firstMs: 1, maxMs: 1 };
  const open: OpenBundle = async () => {
    const cancel = () => undefined;
    return { etag: '"1"', lengthBytes: bytes.length, offset: 0, body: inChunks(bytes), cancel };
  };
  const feed = new BundleFeed(open, backoff, SIGNAL, () => undefined);
  const wish: ImageWish = {
    host: '',
    repository: 'test/app',
    digest: image.manifest.digest,
    platform: { os: 'linux', architecture: 'amd64' },
  };
  const opened = await openBundle(feed, wish, { unboundToc: 'refuse' }, async () => undefined);
  const download = new ImageDownload({
    image: opened.verified.image,
    tables: new ImageTables(image.layers),
    scope: {} as never, // the bundle brings all: nothing is asked for elsewhere
    store,
    fetch: { concurrency: 1 } as never, // likewise
    demandDistanceBytes: 0,
    makeRoom: async () => false,
    reopen: () => Promise.reject(new Error('the bundle did not change')),
    log: pino({ level: 'silent' }),
  });
  download.counts(); // what is here is looked up before
  await timed(`contents of a bundle into the store, fsync ${fsync}`, () =>
    download.run(feed, opened, SIGNAL),
  );
  const { contents: stored } = await store.usage(SIGNAL);
  if (stored !== new Set(contents.map(String)).size) throw new Error(`${stored} contents were stored`);
}

try {
  console.log(
    `${FILES} files, ${sizeBytes} bytes\n\n| | clock, ms | processor, ms | files/s | longest turn, ms |\n|---|--:|--:|--:|--:|`,
  );
  await throughTheStore('image');
  await timed('open, write, close, rename', () => {
    mkdirSync(join(root, 'plain'));
    for (const [n, content] of contents.entries()) {
      const fd = openSync(join(root, 'plain', `t${n}`), 'wx', 0o444);
      writeSync(fd, content);
      closeSync(fd);
      renameSync(join(root, 'plain', `t${n}`), join(root, 'plain', `f${n}`));
    }
  });
  writeFileSync(join(root, 'files.tar'), tarBytes([...directories, ...entries]));
  await timed('tar, in a process of its own', () => {
    mkdirSync(join(root, 'tar'));
    execFileSync('tar', ['-xf', join(root, 'files.tar'), '-C', join(root, 'tar')]);
  });
} finally {
  rmSync(root, { recursive: true, force: true });
}
