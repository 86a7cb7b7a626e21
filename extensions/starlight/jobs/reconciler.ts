import type { Directory } from '../directory.ts';
import type { Clock } from './clock.ts';
import type { JobIntake, KnownPush } from './intake.ts';
import { type JobQueue, JobQueueFullError } from './job-queue.ts';
import type { JobRegistries } from './job-registry.ts';

export interface ReconcilerOptions {
  readonly directory: Directory;
  readonly queue: JobQueue;
  readonly intake: JobIntake;
  readonly registries: JobRegistries;
  /** The registries that are gone through. */
  readonly keys: readonly string[];
  /** This process among all that share the queue. */
  readonly owner: string;
  readonly everyMs: number;
  readonly clock: Clock;
  /** From 0 up to 1. */
  readonly random: () => number;
  readonly onEnd: (event: Reconciliation) => void;
  /** Told of a registry or repository that could not be gone through; the others are. */
  readonly onError: (error: unknown, where: string) => void;
}

/** What one round has found. */
export interface Reconciliation {
  readonly repositories: number;
  readonly tags: number;
  /** Tags that neither the directory nor a job knew as they are. */
  readonly missed: number;
}

const TURN = 'reconciliation';

/**
 * Finds what no event told of: goes through the tags of the repositories from time to time, one replica at a time,
 * and has those ingested that name something else than is known.
 */
export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #closing = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#closing.abort(new DOMException('the proxy is ending', 'AbortError'));
    await this.#running;
  }

  async #run(): Promise<void> {
    const { queue, owner, everyMs, clock, random, onEnd, onError } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        // Replicas that were started together do not all ask at once.
        await clock.sleep(Math.round(everyMs * (0.9 + 0.2 * random())), signal);
        // A little less than the shortest wait: else a replica alone would skip every other turn.
        if (!(await queue.takeTurn(TURN, owner, Math.floor(everyMs * 0.85), signal))) continue;
        onEnd(await this.reconcile(AbortSignal.any([signal, AbortSignal.timeout(everyMs)])));
      } catch (error) {
        if (!signal.aborted) onError(error, TURN);
      }
    }
  }

  /** One round. It ends early when the queue is full: the next one goes on. */
  async reconcile(signal: AbortSignal): Promise<Reconciliation> {
    const { onError } = this.#options;
    const counts = { repositories: 0, tags: 0, missed: 0 };
    try {
      for (const key of this.#options.keys) {
        try {
          await this.#registry(key, counts, signal);
        } catch (error) {
          if (signal.aborted || error instanceof JobQueueFullError) throw error;
          onError(error, key);
        }
      }
    } catch (error) {
      if (!(error instanceof JobQueueFullError)) throw error;
      onError(error, TURN);
    }
    return counts;
  }

  async #registry(key: string, counts: Counts, signal: AbortSignal): Promise<void> {
    const { directory, registries, intake, onError } = this.#options;
    const registry = registries(key);
    if (registry === undefined) return;
    const names = (await registry.repositories(signal)) ?? (await directory.repositories(key, signal));
    for (const name of names) {
      if (!intake.wants({ name, reference: 'latest' })) continue;
      counts.repositories += 1;
      try {
        const tags = await registry.tags(name, signal);
        for (const reference of tags) {
          if (!intake.wants({ name, reference })) continue;
          counts.tags += 1;
          const missed = await this.#missed(key, name, reference, signal);
          if (missed === undefined) continue;
          await intake.take([missed], 'reconciliation', signal);
          counts.missed += 1;
        }
      } catch (error) {
        if (signal.aborted || error instanceof JobQueueFullError) throw error;
        onError(error, `${key}/${name}`);
      }
    }
  }

  /** The image, where what the tag names is known neither to the directory nor from a job. */
  async #missed(
    registry: string,
    name: string,
    reference: string,
    signal: AbortSignal,
  ): Promise<KnownPush | undefined> {
    const { directory, queue, registries } = this.#options;
    const root = await registries(registry)?.reader.manifest(name, reference, undefined, signal);
    if (root === undefined) return undefined;
    const { digest } = root;
    if (await directory.tagged({ registry, name }, reference, digest, signal)) return undefined;
    if (await queue.seen({ registry, name }, reference, digest, signal)) return undefined;
    return { registry, name, reference, digest };
  }
}

interface Counts {
  repositories: number;
  tags: number;
  missed: number;
}
