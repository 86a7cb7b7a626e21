import { workerData } from 'node:worker_threads';
import { type LinkParameters, LinkQueue } from './link-queue.ts';
import { makeThreadPunctual, Poller, read, write } from './system-calls.ts';
import { CELL, COUNTERS_PER_DIRECTION, type TunWorkerData } from './tun-state.ts';

/** The worker thread of the TUN link: reads packets, holds them back, writes them; nothing else runs here. */

/** How long it may take until a changed setting or the end is noticed. */
const LONGEST_WAIT_MS = 20;
/** What a wake-up costs by itself, taken off each way. */
const WAKE_UP_MS = 0.15;
/** With so many packets under way the line is busy, and packets are moved in batches, as a network card does. */
const BUSY_PACKETS = 8;
const BATCH_MS = 0.5;
const READS_IN_A_ROW = 256;

const { state: shared, cloudFd, edgeFd } = workerData as TunWorkerData; // given by tun-link.ts
const state = new Float64Array(shared);
const cell = (index: number) => state[index] ?? 0;

const buffer = new Uint8Array(2048);
type Direction = {
  readonly queue: LinkQueue;
  readonly from: number;
  readonly to: number;
  readonly counters: number;
};
const down: Direction = { queue: new LinkQueue(), from: cloudFd, to: edgeFd, counters: CELL.counters };
const up: Direction = {
  queue: new LinkQueue(),
  from: edgeFd,
  to: cloudFd,
  counters: CELL.counters + COUNTERS_PER_DIRECTION,
};

function take({ queue, from, counters }: Direction, link: LinkParameters, cut: boolean): void {
  for (let count = 0; count < READS_IN_A_ROW; count++) {
    const sizeBytes = read(from, buffer, buffer.byteLength);
    if (sizeBytes <= 0) break; // nothing more, for now
    if (cut) queue.drops++;
    else queue.push(performance.now(), buffer, sizeBytes, link);
  }
  state[counters] = queue.packets;
  state[counters + 1] = queue.bytes;
  state[counters + 2] = queue.drops;
}

function give({ queue, to }: Direction, untilMs: number, cut: boolean): void {
  while (queue.nextDueMs <= untilMs) {
    const packet = queue.peek();
    if (packet === undefined) break;
    if (!cut) write(to, packet, packet.byteLength);
    queue.shift();
  }
}

makeThreadPunctual();
const poller = new Poller([cloudFd, edgeFd]);
while (cell(CELL.stop) === 0) {
  const link = {
    rateBytesPerMs: cell(CELL.rateBytesPerMs),
    delayMs: Math.max(0, cell(CELL.delayMs) - WAKE_UP_MS),
    queueBytes: cell(CELL.queueBytes),
  };
  const cut = cell(CELL.cut) !== 0;
  const dueMs = Math.min(down.queue.nextDueMs, up.queue.nextDueMs);
  poller.wait(Math.min(LONGEST_WAIT_MS, dueMs - performance.now()));
  take(down, link, cut);
  take(up, link, cut);
  const busy = down.queue.length + up.queue.length >= BUSY_PACKETS;
  const untilMs = performance.now() + (busy ? BATCH_MS / 2 : 0);
  give(down, untilMs, cut);
  give(up, untilMs, cut);
  if (busy) poller.pause(BATCH_MS);
}
