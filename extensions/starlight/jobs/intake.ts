import { isDigest } from '../../../schemas/oci/digest.ts';
import { isRepositoryName, isTag } from '../../../schemas/oci/reference.ts';
import { repositoryMatches } from '../../../schemas/oci/repository-pattern.ts';
import type { PushedImage } from '../events/pushed-image.ts';
import type { JobId, JobOrigin, JobRequest } from './job.ts';
import type { JobQueue } from './job-queue.ts';

/** What clients keep under tags beside images: lists of referrers, and what cosign makes of digests. */
const NO_IMAGE_TAG = /^sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})(?:\.|$)/;

export interface IntakeOptions {
  readonly queue: JobQueue;
  /** Of the repositories that are looked at. */
  readonly patterns: readonly string[];
  /** Told when there is something in the queue. */
  readonly wake: () => void;
}

/** An image in one of the fronted registries, by the registry's key. */
export interface KnownPush extends PushedImage {
  readonly registry: string;
}

/** Where everything that makes images known comes together: it puts an ingest of each into the queue. */
export class JobIntake {
  readonly #options: IntakeOptions;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** True for what may be an image in one of the repositories that are looked at. */
  wants({ name, reference }: PushedImage): boolean {
    if (!isRepositoryName(name) || !(isDigest(reference) || isTag(reference))) return false;
    if (NO_IMAGE_TAG.test(reference)) return false;
    return this.#options.patterns.some((pattern) => repositoryMatches(pattern, name));
  }

  /**
   * When it resolves, the jobs outlive this process.
   * @returns the jobs of those images that are wanted.
   * @throws {JobQueueFullError}
   */
  async take(
    pushes: readonly KnownPush[],
    origin: JobOrigin,
    signal: AbortSignal,
  ): Promise<readonly JobId[]> {
    const requests = pushes
      .filter((push) => this.wants(push))
      .map(({ registry, name, reference, digest }): JobRequest => {
        const known = isDigest(reference) ? reference : digest;
        return {
          kind: 'ingest',
          registry,
          name,
          reference,
          origin,
          ...(known === undefined ? {} : { digest: known }),
        };
      });
    if (requests.length === 0) return [];
    const ids = await this.#options.queue.enqueue(requests, signal);
    this.#options.wake();
    return ids;
  }
}
