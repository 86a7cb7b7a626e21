import type { Clock } from './clock.ts';
import type { Job, JobId, JobKind } from './job.ts';
import type { JobOutcome, JobQueue } from './job-queue.ts';
import { verdictOf } from './verdict.ts';

/** How one kind of job is done. */
export interface JobHandler {
  /**
   * @param progress tells how far it is, in a few words.
   * @returns what came of it, in words.
   */
  run(job: Job, progress: (text: string) => void, signal: AbortSignal): Promise<string>;
  /** Jobs of this kind that this process runs at once. */
  readonly atOnce: number;
}

export interface JobRunnerOptions {
  readonly queue: JobQueue;
  readonly handlers: Readonly<Record<JobKind, JobHandler>>;
  /** This process among all that share the queue. */
  readonly owner: string;
  /** The queue's. */
  readonly leaseMs: number;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Told of every turn at a job that has ended, and how. */
  readonly onEnd: (job: Job, outcome: JobOutcome | 'lost') => void;
  /** Told when the queue itself cannot be asked; it is asked again. */
  readonly onError: (error: unknown) => void;
}

/** How often the queue is looked at when nobody says that there is something in it: other replicas' jobs, retries. */
const POLL_MS = 5_000;
const PRUNE_MS = 10 * 60_000;

/** Takes jobs from the queue and runs them, so many of each kind at once, until it is closed. */
export class JobRunner {
  readonly #options: JobRunnerOptions;
  readonly #closing = new AbortController();
  readonly #running = new Map<JobId, AbortController>();
  readonly #lanes: Promise<void>[] = [];
  #wake = Promise.withResolvers<void>();

  constructor(options: JobRunnerOptions) {
    this.#options = options;
  }

  start(): void {
    for (const [kind, { atOnce }] of Object.entries(this.#options.handlers)) {
      for (let lane = 0; lane < atOnce; lane += 1) this.#lanes.push(this.#lane(kind as JobKind)); // a key of the record
    }
    this.#lanes.push(this.#pruning());
  }

  /** Looks at the queue now. */
  wake(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers();
    resolve();
  }

  /** Stops a job that was cancelled, if it runs here; elsewhere its lease will not be renewed. */
  stop(id: JobId): void {
    this.#running.get(id)?.abort(new LostJobError());
  }

  /** Ends what runs and gives it back to the queue, for others to run. */
  async close(): Promise<void> {
    this.#closing.abort(new ClosingError());
    this.wake();
    await Promise.all(this.#lanes);
  }

  async #lane(kind: JobKind): Promise<void> {
    const { queue, owner, onError } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const woken = this.#wake.promise; // taken first: what is put while the queue is asked is not overlooked
      let job: Job | undefined;
      try {
        job = await queue.claim([kind], owner, signal);
      } catch (error) {
        if (!signal.aborted) onError(error);
      }
      if (job === undefined) await this.#pause(woken);
      else await this.#run(job);
    }
  }

  async #pause(woken: Promise<void>): Promise<void> {
    const left = new AbortController();
    const { clock } = this.#options;
    const poll = clock
      .sleep(POLL_MS, AbortSignal.any([left.signal, this.#closing.signal]))
      .catch(() => undefined);
    await Promise.race([woken, poll]);
    left.abort();
  }

  async #run(job: Job): Promise<void> {
    const { handlers, queue, owner, random, onEnd, onError } = this.#options;
    const stopped = new AbortController();
    this.#running.set(job.id, stopped);
    const signal = AbortSignal.any([stopped.signal, this.#closing.signal]);
    let progress = '';
    const beating = this.#beat(job, () => progress, stopped);
    const tell = (text: string) => {
      progress = text;
    };
    let outcome: JobOutcome;
    try {
      const result = await handlers[job.kind].run(job, tell, signal);
      outcome = { kind: 'done', result };
    } catch (error) {
      outcome = this.#closing.signal.aborted
        ? { kind: 'released' }
        : verdictOf(error, job.attempts, random());
    }
    this.#running.delete(job.id);
    const lost = stopped.signal.reason instanceof LostJobError;
    stopped.abort(new EndedError());
    await beating;
    try {
      const kept = !lost && (await queue.finish(job.id, owner, outcome, new AbortController().signal));
      onEnd(job, kept ? outcome : 'lost');
    } catch (error) {
      onError(error); // its lease runs out, and somebody runs it again
    }
  }

  /** Keeps the lease while the job runs; when that cannot be had any more, the job is stopped: another may run it. */
  async #beat(job: Job, progress: () => string, stopped: AbortController): Promise<void> {
    const { queue, owner, leaseMs, clock, onError } = this.#options;
    const { signal } = stopped;
    let heldUntilMs = clock.nowMs() + leaseMs;
    while (!signal.aborted) {
      try {
        await clock.sleep(leaseMs / 4, signal);
        const askedMs = clock.nowMs();
        if (!(await queue.renew(job.id, owner, progress(), signal))) stopped.abort(new LostJobError());
        heldUntilMs = askedMs + leaseMs;
      } catch (error) {
        if (signal.aborted) return;
        onError(error);
        if (clock.nowMs() >= heldUntilMs) stopped.abort(new LostJobError());
      }
    }
  }

  async #pruning(): Promise<void> {
    const { queue, clock, onError } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await clock.sleep(PRUNE_MS, signal);
        await queue.prune(signal);
      } catch (error) {
        if (!signal.aborted) onError(error);
      }
    }
  }
}

/** The job was cancelled, or its lease is lost. */
class LostJobError extends Error {
  constructor() {
    super('the job was cancelled, or another replica runs it');
    this.name = 'LostJobError';
  }
}

class EndedError extends Error {
  constructor() {
    super('the job has ended');
    this.name = 'EndedError';
  }
}

class ClosingError extends Error {
  constructor() {
    super('the proxy is ending');
    this.name = 'ClosingError';
  }
}
