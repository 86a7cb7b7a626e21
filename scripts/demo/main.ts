import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { bytesOnly } from './bytes-only.ts';
import { demo } from './demo.ts';
import { demoImages } from './images.ts';
import { removeLeftovers, removeRun, runDirectory } from './leftovers.ts';

/** `make demo`. */

const EXIT_INTERRUPTED = 130;
const DEFAULT_RTT_MS = 100;
const DEFAULT_RATE_MBIT = 50;

function setting(name: 'RTT' | 'RATE', fallback: number): number {
  const value = Number(process.env[name] ?? fallback);
  if (Number.isFinite(value) && value >= 0) return value;
  console.error(`demo: ${name}=${process.env[name]} is not a number: ms for RTT, Mbit/s for RATE`);
  return process.exit(1);
}

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => stop.abort());

const begin = performance.now();
const say = (text: string) =>
  console.log(text.startsWith('\n') || text.startsWith(' ') ? text : `[${elapsed()}] ${text}`);
function elapsed(): string {
  return `${((performance.now() - begin) / 1000).toFixed(0).padStart(3)} s`;
}

const rttMs = setting('RTT', DEFAULT_RTT_MS);
const rateMbit = setting('RATE', DEFAULT_RATE_MBIT);
const root = process.getuid?.() === 0 && existsSync('/dev/fuse');
const directory = runDirectory();
try {
  if (root) for (const path of await removeLeftovers()) say(`removed ${path}, left by a killed run`);
  await mkdir(directory, { mode: 0o700 });
  say('images: two versions of redis on Debian bookworm (the first time takes some minutes)');
  const images = await demoImages(stop.signal);
  if (root && images.runnable) await demo({ directory, images, rttMs, rateMbit, say }, stop.signal);
  else {
    say(
      `bytes only: ${root ? 'the images cannot run here' : 'containers, and times over the link, need root and /dev/fuse'}`,
    );
    await bytesOnly(directory, images, say);
  }
} catch (error) {
  process.exitCode = stop.signal.aborted ? EXIT_INTERRUPTED : 1;
  console.error(stop.signal.aborted ? 'demo: interrupted; cleaned up' : error);
} finally {
  if (root) await removeRun(directory);
  else await rm(directory, { recursive: true, force: true });
}
