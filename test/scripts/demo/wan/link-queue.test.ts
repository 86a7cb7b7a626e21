import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { type LinkParameters, LinkQueue } from '../../../../scripts/demo/wan/link-queue.ts';

/** 1,000 bytes per millisecond, 20 ms one way, room for 10,000 bytes. */
const LINK: LinkParameters = { rateBytesPerMs: 1000, delayMs: 20, queueBytes: 10_000 };
const packet = (fill: number, sizeBytes = 1000) => new Uint8Array(sizeBytes).fill(fill);

/** Pushes packets of these sizes at these times; the time at which each is due, or undefined if it was dropped. */
function dueTimes(link: LinkParameters, arrivals: readonly (readonly [atMs: number, sizeBytes: number])[]) {
  const queue = new LinkQueue();
  return arrivals.map(([atMs, sizeBytes]) => {
    if (!queue.push(atMs, packet(1, sizeBytes), sizeBytes, link)) return undefined;
    const due = queue.nextDueMs;
    queue.shift();
    return due;
  });
}

const CASES: readonly (readonly [
  name: string,
  link: LinkParameters,
  arrivals: readonly (readonly [atMs: number, sizeBytes: number])[],
  due: readonly (number | undefined)[],
])[] = [
  ['one packet: its time on the line, and the delay', LINK, [[100, 500]], [120.5]],
  [
    'packets that come together, one after the other',
    LINK,
    [
      [0, 1000],
      [0, 1000],
      [0, 500],
    ],
    [21, 22, 22.5],
  ],
  [
    'an idle line, with no credit from before',
    LINK,
    [
      [0, 1000],
      [50, 1000],
    ],
    [21, 71],
  ],
  [
    'a line that is half free again',
    LINK,
    [
      [0, 1000],
      [0.5, 1000],
    ],
    [21, 22],
  ],
  [
    'no limit of rate',
    { ...LINK, rateBytesPerMs: 0 },
    [
      [5, 1500],
      [5, 1500],
    ],
    [25, 25],
  ],
  ['no delay', { ...LINK, delayMs: 0 }, [[5, 1500]], [6.5]],
  [
    'a full queue: dropped',
    { ...LINK, queueBytes: 2000 },
    [
      [0, 1000],
      [0, 1000],
      [0, 1],
    ],
    [21, 22, undefined],
  ],
  [
    'a queue that has room again',
    { ...LINK, queueBytes: 2000 },
    [
      [0, 1000],
      [0, 1000],
      [1, 1000],
    ],
    [21, 22, 23],
  ],
  ['a packet larger than the queue: dropped', { ...LINK, queueBytes: 900 }, [[0, 1000]], [undefined]],
  ['a packet larger than any: dropped', { ...LINK, rateBytesPerMs: 0 }, [[0, 4000]], [undefined]],
];

describe('LinkQueue', () => {
  for (const [name, link, arrivals, due] of CASES) {
    it(`times ${name}`, () => {
      assert.deepEqual(dueTimes(link, arrivals), due);
    });
  }

  it('gives packets back whole and in order, past the end of its ring', () => {
    const queue = new LinkQueue();
    const link = { rateBytesPerMs: 0, delayMs: 1, queueBytes: 0 };
    let out = 0;
    for (let count = 0; count < 40_000; count++) {
      assert.ok(queue.push(count, packet(count % 251, 60 + (count % 7)), 60 + (count % 7), link));
      if (count < 1000) continue; // a thousand stay under way
      assert.deepEqual(queue.peek(), packet(out % 251, 60 + (out % 7)));
      queue.shift();
      out++;
    }
    assert.equal(queue.length, 1000);
    assert.deepEqual([queue.packets, queue.drops], [40_000, 0]);
  });

  it('drops what finds every slot taken, and keeps what was there', () => {
    const queue = new LinkQueue();
    const link = { rateBytesPerMs: 0, delayMs: 1, queueBytes: 0 };
    for (let count = 0; count < 32_768; count++) assert.ok(queue.push(0, packet(7, 40), 40, link));
    assert.equal(queue.push(0, packet(8, 40), 40, link), false);
    assert.deepEqual(queue.peek(), packet(7, 40));
    assert.equal(queue.drops, 1);
  });

  it('lets no packet overtake one that left under a longer delay', () => {
    const queue = new LinkQueue();
    queue.push(0, packet(1), 1000, { ...LINK, delayMs: 100 });
    queue.push(10, packet(2), 1000, { ...LINK, delayMs: 1 });
    assert.equal(queue.nextDueMs, 101);
    queue.shift();
    assert.equal(queue.nextDueMs, 101);
  });

  it('counts what passed, not what was dropped', () => {
    const queue = new LinkQueue();
    const link = { ...LINK, queueBytes: 1500 };
    for (const size of [700, 700, 700]) queue.push(0, packet(1, size), size, link);
    const { packets, bytes, drops, maxBacklogBytes } = queue;
    assert.deepEqual(
      { packets, bytes, drops, maxBacklogBytes },
      { packets: 2, bytes: 1400, drops: 1, maxBacklogBytes: 1400 },
    );
  });

  it('holds nothing at first', () => {
    const queue = new LinkQueue();
    queue.shift();
    assert.equal(queue.peek(), undefined);
    assert.equal(queue.nextDueMs, Number.POSITIVE_INFINITY);
  });
});
