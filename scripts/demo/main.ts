import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { bytesOnly } from './bytes-only.ts';
import { demo } from './demo.ts';
import { demoImages } from './images.ts';
import { removeLeftovers, removeRun, runDirectory } from './leftovers.ts';
import { demoSettings } from './settings.ts';

/** `make demo`. */

const EXIT_INTERRUPTED = 130;

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(name, () => {
    if (!stop.signal.aborted) console.error('\ndemo: interrupted; cleaning up');
    stop.abort(new Error(name));
  });
}

const begin = performance.now();
const say = (text: string) =>
  console.log(text.startsWith('\n') || text.startsWith(' ') ? text : `[${elapsed()}] ${text}`);
function elapsed(): string {
  return `${((performance.now() - begin) / 1000).toFixed(0).padStart(3)} s`;
}

async function main(): Promise<number> {
  const read = demoSettings(process.env);
  if ('faults' in read) {
    for (const fault of read.faults) console.error(`demo: ${fault}`);
    return 1;
  }
  const root = process.getuid?.() === 0 && existsSync('/dev/fuse');
  const directory = runDirectory();
  try {
    for (const path of await removeLeftovers()) say(`removed ${path}, left by a killed run`);
    await mkdir(directory, { mode: 0o700 });
    say('images: two versions of redis on Debian bookworm (at first: minutes)');
    const images = await demoImages(stop.signal);
    if (root && images.runnable) {
      await demo({ directory, images, ...read.settings, say }, stop.signal);
    } else {
      const reason = root
        ? 'the images cannot run here'
        : 'containers, and times over the link, need root and /dev/fuse';
      say(`bytes only: ${reason}`);
      await bytesOnly(directory, images, say, stop.signal);
    }
    return 0;
  } catch (error) {
    if (stop.signal.aborted) return EXIT_INTERRUPTED;
    console.error(`demo: ${error instanceof Error ? error.message : error}`);
    return 1;
  } finally {
    await removeRun(directory);
    if (stop.signal.aborted) console.error('demo: cleaned up');
  }
}

process.exitCode = await main();
