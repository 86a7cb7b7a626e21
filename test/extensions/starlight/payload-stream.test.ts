import assert from 'node:assert/strict';
import { type PayloadPlan, totalBytes } from '../../../extensions/starlight/payload-plan.ts';
import {
  type ReadRange,
  STREAM_LIMIT,
  type StreamLimits,
  streamPayloads,
} from '../../../extensions/starlight/payload-stream.ts';
import { StarlightError } from '../../../extensions/starlight/starlight-error.ts';
import { madePlan, seeded } from './fake-blobs.ts';

const SIGNAL = new AbortController().signal;
const MIB = 1 << 20;

async function readAll(
  plan: PayloadPlan,
  start: number,
  read: ReadRange,
  limits: StreamLimits = STREAM_LIMIT,
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const bytes of streamPayloads(plan, start, read, SIGNAL, limits)) parts.push(bytes);
  return Buffer.concat(parts);
}

const small = (random: () => number) => random() * 3_000;
/** Mostly small, some of megabytes. */
const mixed = (random: () => number) => (random() < 0.9 ? random() * 20_000 : random() * 6 * MIB);

const SHAPES: readonly (readonly [what: string, count: number, size: (random: () => number) => number])[] = [
  ['nothing', 0, small],
  ['two payloads', 2, small],
  ['many small payloads', 500, small],
  ['small and large payloads', 40, mixed],
];

describe('streamPayloads()', function () {
  this.timeout(60_000);
  for (const [what, count, size] of SHAPES) {
    it(`sends ${what} in the order of the plan`, async () => {
      const { plan, blobs, expected } = madePlan(what, count, size);
      assert.equal(totalBytes(plan), expected.length);
      assert.ok(expected.equals(await readAll(plan, 0, blobs.read)));
      assert.equal(blobs.open, 0);
    });

    it(`sends the same from anywhere in ${what}`, async () => {
      const { plan, blobs, expected } = madePlan(what, count, size);
      const random = seeded(`offsets of ${what}`);
      const edges = [...plan.position].slice(0, 5).flatMap((at) => [at - 1, at, at + 1]);
      const offsets = [
        0,
        expected.length,
        expected.length - 1,
        ...edges,
        ...Array.from({ length: 6 }, () => Math.floor(random() * expected.length)),
      ];
      for (const start of offsets.filter((at) => at >= 0 && at <= expected.length)) {
        assert.ok(expected.subarray(start).equals(await readAll(plan, start, blobs.read)), `from ${start}`);
      }
    });
  }

  it('reads nothing again of what comes before the start', async () => {
    const { plan, blobs } = madePlan('resume', 60, mixed);
    const start = plan.position[40] ?? 0;
    await readAll(plan, start, blobs.read, { ...STREAM_LIMIT, gapBytes: 0 });
    const wanted = totalBytes(plan) - start;
    assert.equal(
      blobs.requests.reduce((sum, { length }) => sum + length, 0),
      wanted,
    );
  });

  it('makes far fewer requests than there are payloads, none beyond the limits', async () => {
    const { plan, blobs } = madePlan('requests', 2_000, small);
    const limits = { ...STREAM_LIMIT, gapBytes: 100_000, requestBytes: MIB };
    await readAll(plan, 0, blobs.read, limits);
    assert.ok(blobs.requests.length < 1_000, `${blobs.requests.length} requests`);
    assert.ok(blobs.requests.every(({ length }) => length <= MIB));
    assert.ok(blobs.mostOpen <= limits.requestsAtOnce, `${blobs.mostOpen} at once`);
  });

  it('fetches only some windows ahead of the reader', async () => {
    const { plan, blobs } = madePlan('ahead', 400, () => 50_000);
    const limits = { ...STREAM_LIMIT, firstWindowBytes: 200_000, windowBytes: 200_000, gapBytes: 0 };
    const stream = streamPayloads(plan, 0, blobs.read, SIGNAL, limits);
    for (let n = 0; n < 3; n++) await stream.next();
    for (let n = 0; n < 1_000; n++) await new Promise((resolve) => setImmediate(resolve));
    const fetched = blobs.requests.reduce((sum, { length }) => sum + length, 0);
    assert.ok(fetched <= 200_000 * (3 + limits.windowsAhead + 1), `${fetched} bytes`);
    await stream.return();
  });

  it('lets go of everything when the reader leaves', async () => {
    const { plan, blobs } = madePlan('leave', 400, () => 100_000);
    const stream = streamPayloads(plan, 0, blobs.read, SIGNAL);
    await stream.next();
    await stream.return();
    for (let n = 0; n < 1_000 && blobs.open > 0; n++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(blobs.open, 0);
    const before = blobs.requests.length;
    for (let n = 0; n < 100; n++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(blobs.requests.length, before);
  });

  it('ends with the signal’s reason', async () => {
    const { plan, blobs } = madePlan('abort', 400, () => 100_000);
    const controller = new AbortController();
    const stream = streamPayloads(plan, 0, blobs.read, controller.signal);
    await stream.next();
    controller.abort(new Error('the client has left'));
    await assert.rejects(async () => {
      for await (const _ of stream);
    }, /client has left/);
  });

  const FAULTS: readonly (readonly [what: string, damage: (blob: Buffer) => Buffer | undefined])[] = [
    ['is gone', () => undefined],
    ['is short', (blob) => blob.subarray(0, blob.length - 1)],
    ['is empty', () => Buffer.alloc(0)],
    ['is another', (blob) => Buffer.alloc(blob.length, 'x')],
  ];
  for (const [what, damage] of FAULTS) {
    for (const [shape, count, size] of SHAPES.slice(1)) {
      it(`breaks off ${shape} when a blob ${what}`, async () => {
        const { plan, blobs, expected } = madePlan(`${what} ${shape}`, count, size);
        const [, second] = plan.sources;
        assert.ok(second !== undefined);
        const damaged = damage(blobs.blobs.get(second.digest) ?? Buffer.alloc(0));
        if (damaged === undefined) blobs.blobs.delete(second.digest);
        else blobs.blobs.set(second.digest, damaged);
        const sent: Uint8Array[] = [];
        await assert.rejects(
          async () => {
            for await (const bytes of streamPayloads(plan, 0, blobs.read, SIGNAL)) sent.push(bytes);
          },
          (error) => error instanceof StarlightError && error.fault.kind === 'registry',
        );
        const bytes = Buffer.concat(sent);
        assert.ok(bytes.length < expected.length);
        assert.ok(expected.subarray(0, bytes.length).equals(bytes), 'nothing wrong was sent before');
      });
    }
  }

  it('breaks off when a blob gives more than was asked for', async () => {
    const { plan, blobs } = madePlan('more', 2, small);
    const read: ReadRange = async (source, range, signal) => {
      const blob = await blobs.read(source, range, signal);
      if (blob === undefined) return undefined;
      const more = async function* () {
        yield* blob.bytes;
        yield Buffer.from('x');
      };
      return { ...blob, bytes: more() };
    };
    await assert.rejects(readAll(plan, 0, read), /bytes instead of/);
  });

  it('hands on what the registry throws', async () => {
    const { plan } = madePlan('throws', 10, small);
    await assert.rejects(
      readAll(plan, 0, () => Promise.reject(new Error('no rights any more'))),
      /no rights any more/,
    );
  });
});
