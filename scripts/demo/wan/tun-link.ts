import { once } from 'node:events';
import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { type Link, type LinkSettings, type LinkStats, queueBytes, rateBytesPerMs } from './link.ts';
import { type Namespaces, takeDevice } from './namespaces.ts';
import { openTun } from './system-calls.ts';
import { CELL, COUNTERS_PER_DIRECTION, STATE_BYTES, type TunWorkerData } from './tun-state.ts';

const LONG_QUEUE_PACKETS = 10_000;

/**
 * The link for kernels without netem: a TUN device in each namespace, packets carried between them by a thread
 * of this process. Needs /dev/net/tun and root.
 */
export async function openTunLink(
  namespaces: Namespaces,
  settings: LinkSettings,
  signal: AbortSignal,
): Promise<Link> {
  const fds: number[] = [];
  const close = () => {
    for (const fd of fds.splice(0)) closeSync(fd);
  };
  try {
    for (const side of ['cloud', 'edge'] as const) {
      const name = `sl${process.pid}${side.charAt(0)}`;
      fds.push(openTun(name));
      await takeDevice(namespaces, side, name, ['txqueuelen', `${LONG_QUEUE_PACKETS}`], signal);
    }
  } catch (error) {
    close();
    throw error;
  }
  const [cloudFd = -1, edgeFd = -1] = fds;
  const shared = new SharedArrayBuffer(STATE_BYTES);
  const state = new Float64Array(shared);
  const apply = (next: LinkSettings) => {
    state[CELL.delayMs] = next.rttMs / 2;
    state[CELL.rateBytesPerMs] = rateBytesPerMs(next);
    state[CELL.queueBytes] = queueBytes(next);
    state[CELL.cut] = next.cut ? 1 : 0;
  };
  apply(settings);
  const workerData: TunWorkerData = { state: shared, cloudFd, edgeFd };
  const worker = new Worker(new URL('./tun-worker.ts', import.meta.url), { workerData });
  const ended = once(worker, 'exit');
  const direction = (at: number) => ({
    packets: state[at] ?? 0,
    bytes: state[at + 1] ?? 0,
    drops: state[at + 2] ?? 0,
  });
  return {
    driver: 'tun',
    async stats(): Promise<LinkStats> {
      return { down: direction(CELL.counters), up: direction(CELL.counters + COUNTERS_PER_DIRECTION) };
    },
    async apply(next: LinkSettings) {
      apply(next);
    },
    async [Symbol.asyncDispose]() {
      state[CELL.stop] = 1;
      await ended;
      close();
    },
  };
}
