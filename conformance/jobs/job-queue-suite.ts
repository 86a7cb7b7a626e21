import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import type { Job, JobId, JobKind, JobRequest } from '../../extensions/starlight/jobs/job.ts';
import {
  type JobLimits,
  type JobOutcome,
  type JobQueue,
  JobQueueFullError,
  MAX_JOB_TEXT,
} from '../../extensions/starlight/jobs/job-queue.ts';
import { digestOf } from '../../schemas/oci/digest.ts';

const SIGNAL = new AbortController().signal;
const LIMITS: JobLimits = {
  maxOpen: 20,
  maxFinished: 5,
  keepFinishedMs: 100_000,
  leaseMs: 1_000,
  maxAttempts: 3,
};

/** Two handles on one queue, as two replicas have them. */
export interface QueueHandles {
  readonly one: JobQueue;
  readonly two: JobQueue;
  close(): Promise<void>;
}

/**
 * What every JobQueue must do. `open` gives handles with these limits and this clock, on a queue that is empty; the
 * suite closes them.
 */
export function jobQueueSuite(
  name: string,
  open: (limits: JobLimits, nowMs: () => number) => Promise<QueueHandles>,
): void {
  describe(`job queue: ${name}`, () => {
    let handles: QueueHandles;
    let one: JobQueue;
    let two: JobQueue;
    let now = 1_700_000_000_000;

    before(async () => {
      handles = await open(LIMITS, () => now);
      ({ one, two } = handles);
    });
    after(() => handles?.close());
    afterEach(async () => {
      for (const job of await one.list({ limit: 100 }, SIGNAL)) await one.cancel(job.id, SIGNAL);
      now += LIMITS.keepFinishedMs + 1;
      await one.prune(SIGNAL);
    });

    const request = (fields: Partial<JobRequest> = {}): JobRequest => ({
      kind: 'ingest',
      registry: 'origin.example',
      name: `team/${randomBytes(6).toString('hex')}`,
      reference: 'v1',
      origin: 'event',
      ...fields,
    });
    const put = async (fields: Partial<JobRequest> = {}): Promise<JobId> => {
      const [id] = await one.enqueue([request(fields)], SIGNAL);
      return id as JobId; // one for each
    };
    const claim = (queue: JobQueue, owner: string, kinds: readonly JobKind[] = ['ingest']) =>
      queue.claim(kinds, owner, SIGNAL);
    const found = async (id: JobId): Promise<Job> => {
      const job = await two.find(id, SIGNAL);
      assert.ok(job, `job ${id} is not known`);
      return job;
    };

    it('keeps what was asked for', async () => {
      const asked = request({ kind: 'convert', digest: digestOf('x'), origin: 'push' });
      const [id] = await one.enqueue([asked], SIGNAL);
      assert.ok(id);
      assert.deepEqual(await two.find(id, SIGNAL), {
        ...asked,
        id,
        state: 'queued',
        attempts: 0,
        createdMs: now,
        updatedMs: now,
        notBeforeMs: now,
        progress: '',
        result: '',
        error: '',
      });
    });

    it('knows no job that was never asked for', async () => {
      const unknown = randomUUID() as string as JobId; // of the form
      assert.equal(await one.find(unknown, SIGNAL), undefined);
      assert.equal(await one.cancel(unknown, SIGNAL), undefined);
      assert.equal(await one.renew(unknown, 'a', '', SIGNAL), false);
      assert.equal(await one.finish(unknown, 'a', { kind: 'done', result: '' }, SIGNAL), false);
    });

    it('holds the same once, within a request and across replicas, and other kinds and references beside it', async () => {
      const same = request();
      const [a, b] = await one.enqueue([same, same], SIGNAL);
      const [c, d, e] = await two.enqueue(
        [same, { ...same, kind: 'convert' }, { ...same, reference: 'v2' }],
        SIGNAL,
      );
      assert.equal(new Set([a, b, c]).size, 1);
      assert.equal(new Set([a, d, e]).size, 3);
    });

    it('gives each job to one of many who ask at once', async () => {
      const ids = await one.enqueue([request(), request(), request(), request()], SIGNAL);
      const claims = await Promise.all(
        Array.from({ length: 8 }, (_, row) => claim(row % 2 === 0 ? one : two, `owner-${row}`)),
      );
      const got = claims.flatMap((job) => (job === undefined ? [] : [job.id]));
      assert.deepEqual([...got].sort(), [...ids].sort());
    });

    it('gives only the kinds asked for, the oldest first', async () => {
      const first = await put();
      const convert = await put({ kind: 'convert' });
      now += 1;
      const second = await put();
      assert.equal((await claim(one, 'a', ['convert']))?.id, convert);
      const claimed = await claim(one, 'a');
      assert.deepEqual([claimed?.id, claimed?.state, claimed?.attempts], [first, 'running', 1]);
      assert.equal((await claim(two, 'b'))?.id, second);
      assert.equal(await claim(two, 'b'), undefined);
    });

    it('a lease that was renewed is kept, with its progress', async () => {
      const id = await put();
      await claim(one, 'a');
      now += LIMITS.leaseMs - 1;
      assert.equal(await one.renew(id, 'a', 'half', SIGNAL), true);
      now += LIMITS.leaseMs - 1;
      assert.equal(await claim(two, 'b'), undefined);
      assert.equal((await found(id)).progress, 'half');
    });

    it('takes up the job of a replica that is gone, which then has no say in it any more', async () => {
      const id = await put();
      await claim(one, 'a');
      assert.equal(await claim(two, 'b'), undefined);
      now += LIMITS.leaseMs;
      const taken = await claim(two, 'b');
      assert.deepEqual([taken?.id, taken?.attempts], [id, 2]);
      assert.equal(await one.renew(id, 'a', '', SIGNAL), false);
      assert.equal(await one.finish(id, 'a', { kind: 'done', result: 'late' }, SIGNAL), false);
      assert.equal(await two.finish(id, 'b', { kind: 'done', result: 'in time' }, SIGNAL), true);
      const done = await found(id);
      assert.deepEqual([done.state, done.result], ['done', 'in time']);
    });

    it('a job that ends whoever runs it fails after so many attempts', async () => {
      const id = await put();
      for (let attempt = 1; attempt <= LIMITS.maxAttempts; attempt += 1) {
        assert.equal((await claim(one, 'a'))?.attempts, attempt);
        now += LIMITS.leaseMs;
      }
      assert.equal(await claim(one, 'a'), undefined);
      const failed = await found(id);
      assert.deepEqual([failed.state, failed.error], ['failed', 'whoever ran it ended, 3 times']);
    });

    const ENDS: readonly (readonly [
      outcome: JobOutcome,
      state: string,
      attempts: number,
      result: string,
      error: string,
      delayMs: number,
    ])[] = [
      [{ kind: 'done', result: 'three images' }, 'done', 1, 'three images', '', 0],
      [{ kind: 'failed', error: 'no such tag' }, 'failed', 1, '', 'no such tag', 0],
      [{ kind: 'retry', error: 'away', delayMs: 500 }, 'queued', 1, '', 'away', 500],
      [{ kind: 'released' }, 'queued', 0, '', '', 0],
    ];
    for (const [outcome, state, attempts, result, error, delayMs] of ENDS) {
      it(`${outcome.kind} leaves it ${state}`, async () => {
        const id = await put();
        await claim(one, 'a');
        await one.renew(id, 'a', 'on the way', SIGNAL);
        assert.equal(await one.finish(id, 'a', outcome, SIGNAL), true);
        const job = await found(id);
        assert.deepEqual(
          [job.state, job.attempts, job.result, job.error, job.notBeforeMs - now, job.progress],
          [state, attempts, result, error, delayMs, ''],
        );
        assert.equal(await one.finish(id, 'a', outcome, SIGNAL), false);
      });
    }

    it('tries again when it is time, keeps the error meanwhile, and gives up in the end', async () => {
      const id = await put();
      for (let attempt = 1; attempt <= LIMITS.maxAttempts; attempt += 1) {
        assert.equal((await claim(one, 'a'))?.error, attempt === 1 ? '' : 'away');
        await one.finish(id, 'a', { kind: 'retry', error: 'away', delayMs: 500 }, SIGNAL);
        now += 499;
        assert.equal(await claim(two, 'b'), undefined);
        now += 1;
      }
      assert.equal((await found(id)).state, 'failed');
      assert.equal(await claim(two, 'b'), undefined);
    });

    it('being asked for anew ends the wait of one that is to be tried again', async () => {
      const asked = request();
      const [id] = await one.enqueue([asked], SIGNAL);
      await claim(one, 'a');
      await one.finish(id as JobId, 'a', { kind: 'retry', error: 'away', delayMs: 50_000 }, SIGNAL);
      await two.enqueue([asked], SIGNAL);
      assert.equal((await claim(two, 'b'))?.id, id);
    });

    const AGAIN: readonly (readonly [what: string, first: string, then: string, state: string])[] = [
      ['another digest', 'x', 'y', 'queued'],
      ['an unknown digest', 'x', '', 'queued'],
      ['the same digest', 'x', 'x', 'done'],
    ];
    for (const [what, first, then, state] of AGAIN) {
      it(`asked for with ${what} while it runs, it is ${state} afterwards`, async () => {
        const asked = request();
        const withDigest = (text: string) => ({
          ...asked,
          ...(text === '' ? {} : { digest: digestOf(text) }),
        });
        const [id] = await one.enqueue([withDigest(first)], SIGNAL);
        await claim(one, 'a');
        assert.deepEqual(await two.enqueue([withDigest(then)], SIGNAL), [id]);
        await one.finish(id as JobId, 'a', { kind: 'done', result: '' }, SIGNAL);
        assert.equal((await found(id as JobId)).state, state);
        assert.equal((await claim(two, 'b'))?.id, state === 'queued' ? id : undefined);
      });
    }

    it('what is done may be asked for again, as a new job', async () => {
      const asked = request();
      const [first] = await one.enqueue([asked], SIGNAL);
      await claim(one, 'a');
      await one.finish(first as JobId, 'a', { kind: 'done', result: '' }, SIGNAL);
      const [second] = await one.enqueue([asked], SIGNAL);
      assert.notEqual(second, first);
    });

    it('cancels what waits and what runs, and nothing else', async () => {
      const waiting = await put();
      assert.equal((await two.cancel(waiting, SIGNAL))?.state, 'cancelled');
      assert.equal(await claim(one, 'a'), undefined);
      const running = await put();
      await claim(one, 'a');
      assert.equal((await two.cancel(running, SIGNAL))?.state, 'cancelled');
      assert.equal(await one.renew(running, 'a', '', SIGNAL), false);
      assert.equal(await one.finish(running, 'a', { kind: 'done', result: '' }, SIGNAL), false);
      const done = await put();
      await claim(one, 'a');
      await one.finish(done, 'a', { kind: 'done', result: '' }, SIGNAL);
      assert.equal((await two.cancel(done, SIGNAL))?.state, 'done');
    });

    it('takes no more than its limit, all of a request or nothing, and what it has already', async () => {
      const asked = Array.from({ length: LIMITS.maxOpen - 1 }, () => request());
      await one.enqueue(asked, SIGNAL);
      await assert.rejects(two.enqueue([request(), request()], SIGNAL), JobQueueFullError);
      assert.equal((await one.list({ limit: 100 }, SIGNAL)).length, LIMITS.maxOpen - 1);
      await two.enqueue([request()], SIGNAL);
      await assert.rejects(two.enqueue([request()], SIGNAL), JobQueueFullError);
      assert.equal((await two.enqueue(asked, SIGNAL)).length, asked.length);
      await claim(one, 'a');
      await assert.rejects(two.enqueue([request()], SIGNAL), JobQueueFullError);
    });

    it('keeps to its limit when many ask at once', async () => {
      const asks = Array.from({ length: 30 }, (_, row) =>
        (row % 2 === 0 ? one : two).enqueue([request()], SIGNAL),
      );
      const ends = await Promise.allSettled(asks);
      assert.equal(ends.filter(({ status }) => status === 'fulfilled').length, LIMITS.maxOpen);
    });

    it('lists the newest first, by state, so many', async () => {
      const a = await put();
      const b = await put();
      const c = await put();
      await one.cancel(b, SIGNAL);
      const ids = async (filter: Parameters<JobQueue['list']>[0]) =>
        (await two.list(filter, SIGNAL)).map(({ id }) => id);
      assert.deepEqual(await ids({ limit: 10 }), [c, b, a]);
      assert.deepEqual(await ids({ limit: 2 }), [c, b]);
      assert.deepEqual(await ids({ limit: 10, state: 'queued' }), [c, a]);
      assert.deepEqual(await ids({ limit: 10, state: 'cancelled' }), [b]);
    });

    it('has seen what is open or done, not what failed', async () => {
      const asked = request({ digest: digestOf('seen') });
      const key = { registry: asked.registry, name: asked.name };
      const seen = (reference = asked.reference, text = 'seen') =>
        two.seen(key, reference, digestOf(text), SIGNAL);
      assert.equal(await seen(), false);
      const [id] = await one.enqueue([asked], SIGNAL);
      assert.deepEqual([await seen(), await seen('v2'), await seen('v1', 'other')], [true, false, false]);
      await claim(one, 'a');
      await one.finish(id as JobId, 'a', { kind: 'failed', error: 'x' }, SIGNAL);
      assert.equal(await seen(), false);
    });

    it('forgets finished jobs that are too many or too old, and never an open one', async () => {
      const open = await put();
      const done: JobId[] = [];
      for (let row = 0; row < LIMITS.maxFinished + 2; row += 1) {
        const id = await put();
        await one.cancel(id, SIGNAL);
        done.push(id);
      }
      assert.equal(await two.prune(SIGNAL), 2);
      assert.equal(await one.find(done[0] as JobId, SIGNAL), undefined);
      assert.equal((await found(done[2] as JobId)).state, 'cancelled');
      now += LIMITS.keepFinishedMs + 1;
      assert.equal(await two.prune(SIGNAL), LIMITS.maxFinished);
      assert.equal((await found(open)).state, 'queued');
    });

    it('cuts texts that are too long and keeps others as they are', async () => {
      const id = await put();
      await claim(one, 'a');
      await one.finish(id, 'a', { kind: 'failed', error: `ä\0"'${'x'.repeat(MAX_JOB_TEXT)}` }, SIGNAL);
      const { error } = await found(id);
      assert.equal(error.length, MAX_JOB_TEXT);
      assert.ok(error.startsWith(`ä"'x`));
    });

    it('gives a turn to one at a time', async () => {
      const turn = `reconcile-${randomUUID()}`;
      const taken = await Promise.all(
        ['a', 'b', 'c', 'd'].map((owner, row) =>
          (row % 2 === 0 ? one : two).takeTurn(turn, owner, 5_000, SIGNAL),
        ),
      );
      assert.equal(taken.filter(Boolean).length, 1);
      now += 4_999;
      assert.equal(await two.takeTurn(turn, 'b', 5_000, SIGNAL), false);
      now += 1;
      assert.equal(await two.takeTurn(turn, 'b', 5_000, SIGNAL), true);
      assert.equal(await one.takeTurn(`${turn}-other`, 'a', 5_000, SIGNAL), true);
    });

    it('refuses to begin with a signal that is aborted', async () => {
      const reason = new Error('gone');
      await assert.rejects(one.enqueue([request()], AbortSignal.abort(reason)), reason);
      await assert.rejects(one.claim(['ingest'], 'a', AbortSignal.abort(reason)), reason);
    });
  });
}
