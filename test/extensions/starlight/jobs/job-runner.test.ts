import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Directory } from '../../../../extensions/starlight/directory.ts';
import type { Job, JobId, JobRequest } from '../../../../extensions/starlight/jobs/job.ts';
import { JOB_LIMITS, type JobQueue } from '../../../../extensions/starlight/jobs/job-queue.ts';
import { type JobHandler, JobRunner } from '../../../../extensions/starlight/jobs/job-runner.ts';
import { StarlightError } from '../../../../extensions/starlight/starlight-error.ts';
import { openStores } from '../../../../server/directory/open.ts';
import { until } from '../../../support/until.ts';
import { FakeClock } from './fake-clock.ts';

const SIGNAL = new AbortController().signal;
const LEASE_MS = JOB_LIMITS.leaseMs;

describe('JobRunner', function () {
  this.timeout(60_000);
  const clock = new FakeClock();
  let directory: Directory;
  let queue: JobQueue;
  let runners: JobRunner[];
  let errors: unknown[];
  before(async () => {
    ({ directory, jobs: queue } = await openStores({ kind: 'pglite' }, { nowMs: () => clock.nowMs() }));
  });
  after(() => directory?.close());
  beforeEach(() => {
    runners = [];
    errors = [];
  });
  afterEach(async () => {
    for (const runner of runners) await runner.close();
    for (const { id } of await queue.list({ limit: 100 }, SIGNAL)) await queue.cancel(id, SIGNAL);
  });

  const start = (owner: string, run: JobHandler['run'], over: JobQueue = queue, atOnce = 1): JobRunner => {
    const runner = new JobRunner({
      queue: over,
      handlers: { ingest: { run, atOnce }, convert: { run, atOnce } },
      owner,
      leaseMs: LEASE_MS,
      clock,
      random: () => 0,
      onEnd: () => undefined,
      onError: (error) => errors.push(error),
    });
    runners.push(runner);
    runner.start();
    return runner;
  };
  const put = async (fields: Partial<JobRequest> = {}): Promise<JobId> => {
    const name = `team/${randomBytes(6).toString('hex')}`;
    const [id] = await queue.enqueue(
      [{ kind: 'ingest', registry: '', name, reference: 'v1', origin: 'push', ...fields }],
      SIGNAL,
    );
    return id as JobId; // one for each
  };
  const isIn = async (id: JobId, state: string): Promise<Job> => {
    const find = async () => {
      const job = await queue.find(id, SIGNAL);
      return job?.state === state ? job : undefined;
    };
    return await until(find, async () => `not ${state}: ${JSON.stringify(await queue.find(id, SIGNAL))}`);
  };
  /** Lets time pass until it is so: whoever is to sleep first may not have come to it. */
  const passing = async (ms: number, id: JobId, state: string): Promise<Job> => {
    const find = async () => {
      const job = await queue.find(id, SIGNAL);
      if (job?.state === state) return job;
      clock.advance(ms);
      await setImmediate();
      return undefined;
    };
    return await until(find, async () => `not ${state}: ${JSON.stringify(await queue.find(id, SIGNAL))}`);
  };
  const forEver = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });

  it('runs what is there, and what is put when it is woken', async () => {
    const first = await put();
    const runner = start('a', async (job) => `did ${job.name}`);
    assert.match((await isIn(first, 'done')).result, /^did team\//);
    const second = await put({ kind: 'convert' });
    runner.wake();
    await isIn(second, 'done');
  });

  it('finds what others put, after a while', async () => {
    start('a', async () => '');
    await passing(1_000, await put(), 'done');
  });

  it('two share a queue, and each job is run once', async () => {
    const ran: string[] = [];
    const ids = await Promise.all(Array.from({ length: 12 }, () => put()));
    for (const owner of ['a', 'b']) {
      start(owner, async (job) => {
        ran.push(job.id);
        await setImmediate();
        return '';
      });
    }
    for (const id of ids) await isIn(id, 'done');
    assert.deepEqual([...ran].sort(), [...ids].sort());
  });

  it('runs no more at once than it may', async () => {
    let running = 0;
    let most = 0;
    const ids = await Promise.all(Array.from({ length: 8 }, () => put()));
    start(
      'a',
      async () => {
        running += 1;
        most = Math.max(most, running);
        await setImmediate();
        running -= 1;
        return '';
      },
      queue,
      3,
    );
    for (const id of ids) await isIn(id, 'done');
    assert.ok(most <= 3, `${most} at once`);
  });

  it('keeps the lease of a long job, with its progress', async () => {
    let progress: (text: string) => void = () => undefined;
    let finish: () => void = () => undefined;
    const id = await put();
    start('a', async (_job, tell) => {
      progress = tell;
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return 'at last';
    });
    await isIn(id, 'running');
    start('b', async () => 'taken over');
    progress('half of it');
    for (let beat = 0; beat < 12; beat += 1) {
      clock.advance(LEASE_MS / 4);
      // The lease is seen to be extended before time passes on.
      await until(
        async () => {
          const open = await queue.renew(id, 'nobody', '', SIGNAL);
          assert.equal(open, false);
          const job = await queue.find(id, SIGNAL);
          return job?.progress === 'half of it' ? true : undefined;
        },
        () => 'no progress was noted',
      );
      for (let turn = 0; turn < 20; turn += 1) await setImmediate();
    }
    finish();
    assert.deepEqual([(await isIn(id, 'done')).result, (await isIn(id, 'done')).attempts], ['at last', 1]);
  });

  it('takes up what a crashed one had begun, whose late answer does not count', async () => {
    const id = await put();
    let late: (text: string) => void = () => undefined;
    // It never renews: as if the process were gone.
    const dead: JobQueue = new Proxy(queue, {
      get: (of, key: keyof JobQueue) =>
        key === 'renew' ? () => new Promise(() => undefined) : of[key].bind(of),
    });
    start(
      'crashed',
      () =>
        new Promise<string>((resolve) => {
          late = resolve;
        }),
      dead,
    );
    await isIn(id, 'running');
    start('b', async () => 'by another');
    assert.equal((await passing(LEASE_MS / 8, id, 'done')).result, 'by another');
    late('too late');
    for (let turn = 0; turn < 20; turn += 1) await setImmediate();
    const job = await isIn(id, 'done');
    assert.deepEqual([job.result, job.attempts], ['by another', 2]);
    runners.shift(); // its heart does not beat: it could not be closed
  });

  it('tries again what may pass, later and later, and tells why', async () => {
    let failures = 0;
    const id = await put();
    start('a', async () => {
      failures += 1;
      if (failures <= 2) throw new StarlightError({ kind: 'unavailable', what: 'the registry' });
      return 'in the end';
    });
    const waiting = await until(
      async () => {
        const job = await queue.find(id, SIGNAL);
        return job?.state === 'queued' && job.error !== '' ? job : undefined;
      },
      () => 'it did not fail',
    );
    assert.equal(waiting.error, 'the registry cannot answer now');
    assert.ok(waiting.notBeforeMs > clock.nowMs());
    assert.equal((await passing(1_000, id, 'done')).attempts, 3);
  });

  it('does not try again what cannot pass', async () => {
    const id = await put();
    start('a', async () => {
      throw new StarlightError({ kind: 'denied' });
    });
    const job = await isIn(id, 'failed');
    assert.deepEqual([job.attempts, job.error], [1, 'the registry denies this']);
  });

  it('gives up in the end', async () => {
    const id = await put();
    start('a', async () => {
      throw new Error('a disk is full');
    });
    const job = await passing(60_000, id, 'failed');
    assert.deepEqual([job.attempts, job.error], [JOB_LIMITS.maxAttempts, 'a disk is full']);
  });

  it('stops at once what was cancelled here, and goes on', async () => {
    const id = await put();
    let ended: unknown;
    const runner = start('a', async (_job, _tell, signal) => {
      await forEver(signal).catch((error: unknown) => {
        ended = error;
        throw error;
      });
      return '';
    });
    await isIn(id, 'running');
    await queue.cancel(id, SIGNAL);
    runner.stop(id);
    await until(
      async () => ended,
      () => 'it was not stopped',
    );
    assert.equal((await isIn(id, 'cancelled')).error, '');
  });

  it('stops what was cancelled elsewhere, when it renews its lease', async () => {
    const id = await put();
    let ended: unknown;
    start('a', async (_job, _tell, signal) => {
      await forEver(signal).catch((error: unknown) => {
        ended = error;
        throw error;
      });
      return '';
    });
    await isIn(id, 'running');
    await queue.cancel(id, SIGNAL);
    await until(
      async () => {
        clock.advance(LEASE_MS / 8);
        return ended;
      },
      () => 'it was not stopped',
    );
    await isIn(id, 'cancelled');
  });

  it('gives back what it ran when it is closed, as if it had not begun it', async () => {
    const id = await put();
    const runner = start('a', async (_job, _tell, signal) => await forEver(signal));
    await isIn(id, 'running');
    await runner.close();
    assert.equal((await isIn(id, 'queued')).attempts, 0);
    start('b', async () => 'by the next');
    assert.equal((await isIn(id, 'done')).result, 'by the next');
  });

  it('goes on when the queue did not answer', async () => {
    let away = true;
    const id = await put();
    const failing: JobQueue = new Proxy(queue, {
      get: (of, key: keyof JobQueue) =>
        key === 'claim' && away
          ? async () => {
              throw new Error('away');
            }
          : of[key].bind(of),
    });
    start('a', async () => 'when it was back', failing);
    await until(
      async () => (errors.length > 0 ? true : undefined),
      () => 'it was not told',
    );
    away = false;
    assert.equal((await passing(1_000, id, 'done')).result, 'when it was back');
  });
});
