import assert from 'node:assert/strict';
import { DirectoryError } from '../../../../extensions/starlight/directory.ts';
import type { KnownPush } from '../../../../extensions/starlight/jobs/intake.ts';
import { JobQueueFullError } from '../../../../extensions/starlight/jobs/job-queue.ts';
import { MAX_WAITING, PushBacklog } from '../../../../extensions/starlight/jobs/push-backlog.ts';
import { until } from '../../../support/until.ts';
import { FakeClock } from './fake-clock.ts';

const push = (reference: string): KnownPush => ({ registry: 'r', name: 'team/app', reference });
const AWAY = new DirectoryError({ kind: 'unavailable' }, 'away');

class Bench {
  readonly clock = new FakeClock();
  /** What was taken, call by call. */
  readonly taken: string[][] = [];
  readonly delayed: unknown[] = [];
  readonly lost: string[] = [];
  calls = 0;
  /** The queue's own trouble, while there is some. */
  failure: unknown;
  readonly backlog = new PushBacklog({
    take: async (pushes) => {
      this.calls += 1;
      await this.gate;
      if (this.failure !== undefined) throw this.failure;
      this.taken.push(pushes.map(({ reference }) => reference));
    },
    clock: this.clock,
    onDelay: (error) => this.delayed.push(error),
    onLost: (_, pushes) => this.lost.push(...pushes.map(({ reference }) => reference)),
  });
  gate: Promise<void> | undefined;

  async untilCalls(count: number): Promise<void> {
    await until(
      async () => (this.calls >= count ? true : undefined),
      async () => `${this.calls} calls instead of ${count}`,
    );
    await new Promise((resolve) => setImmediate(resolve)); // what follows from the last of them
  }
}

describe('PushBacklog', () => {
  it('hands on what it is told at once', async () => {
    const bench = new Bench();
    bench.backlog.add([push('v1'), push('v2')]);
    await bench.untilCalls(1);
    bench.backlog.add([push('v3')]);
    await bench.untilCalls(2);
    assert.deepEqual(bench.taken, [['v1', 'v2'], ['v3']]);
  });

  for (const failure of [AWAY, new JobQueueFullError(7)]) {
    it(`offers again what the queue could not take: ${failure.message}`, async () => {
      const bench = new Bench();
      bench.failure = failure;
      bench.backlog.add([push('v1')]);
      await bench.untilCalls(1);
      bench.backlog.add([push('v2'), push('v1')]);
      for (const [calls, waitMs] of [
        [2, 1_000],
        [3, 2_000],
        [4, 4_000],
      ] as const) {
        bench.clock.advance(waitMs - 1);
        await new Promise((resolve) => setImmediate(resolve));
        assert.equal(bench.calls, calls - 1, 'not before its time');
        bench.clock.advance(1);
        await bench.untilCalls(calls);
      }
      bench.failure = undefined;
      bench.clock.advance(60_000);
      await bench.untilCalls(5);
      assert.deepEqual(bench.taken, [['v1', 'v2']]);
      assert.deepEqual(bench.delayed, [failure], 'told once');
      assert.deepEqual(bench.lost, []);
    });
  }

  it('keeps what is pushed anew while the push before is taken', async () => {
    const bench = new Bench();
    const gate = Promise.withResolvers<void>();
    bench.gate = gate.promise;
    bench.backlog.add([push('v1')]);
    bench.backlog.add([push('v1')]);
    gate.resolve();
    await bench.untilCalls(2);
    assert.deepEqual(bench.taken, [['v1'], ['v1']]);
  });

  it('tells of what nothing will come of, and goes on', async () => {
    const bench = new Bench();
    bench.failure = new Error('a fault of ours');
    bench.backlog.add([push('v1')]);
    await bench.untilCalls(1);
    assert.deepEqual(bench.lost, ['v1']);
    bench.failure = AWAY;
    bench.backlog.add(Array.from({ length: MAX_WAITING + 2 }, (_, row) => push(`w${row}`)));
    assert.deepEqual(bench.lost.slice(1), [`w${MAX_WAITING}`, `w${MAX_WAITING + 1}`]);
  });

  it('stops when it is closed', async () => {
    const bench = new Bench();
    bench.failure = AWAY;
    bench.backlog.add([push('v1')]);
    await bench.untilCalls(1);
    bench.backlog.close();
    bench.clock.advance(60_000);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(bench.calls, 1);
  });
});
