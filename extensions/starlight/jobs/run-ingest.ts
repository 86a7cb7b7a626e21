import type { Ingester, IngestResult } from '../ingest.ts';
import type { RegistryReader } from '../registry-reader.ts';
import { StarlightError } from '../starlight-error.ts';
import type { ConvertRules } from './convert-rules.ts';
import type { Job } from './job.ts';
import type { JobQueue } from './job-queue.ts';
import type { JobRegistries, JobRegistry } from './job-registry.ts';
import type { JobHandler } from './job-runner.ts';

export interface IngestJobOptions {
  readonly registries: JobRegistries;
  readonly ingester: Ingester;
  readonly rules: ConvertRules;
  readonly queue: JobQueue;
  /** Told when there is something new in the queue. */
  readonly wake: () => void;
  readonly atOnce: number;
}

/** How often a job waits for a tag to name what was told. */
const TAG_ATTEMPTS = 2;

/** Takes images into the directory. What is not converted and should be is asked to be. */
export function ingestJobs(options: IngestJobOptions): JobHandler {
  return { atOnce: options.atOnce, run: (job, _progress, signal) => ingest(options, job, signal) };
}

async function ingest(options: IngestJobOptions, job: Job, signal: AbortSignal): Promise<string> {
  const { registry, name, reference } = job;
  const { reader } = registryOf(options.registries, job);
  await checkTag(reader, job, signal);
  try {
    const repository = { registry, name, reader, auth: undefined };
    const result = await options.ingester.ingest(repository, reference, signal);
    const missing = result.images.some(({ status }) => status === 'not-converted');
    return `${inWords(result)}${missing ? await askToConvert(options, job, signal) : ''}`;
  } catch (error) {
    if (!(error instanceof StarlightError) || error.fault.kind !== 'not-converted') throw error;
    return `not converted: ${error.fault.reason}${await askToConvert(options, job, signal)}`;
  }
}

/**
 * docker-registry tells of a push before it has set the tag: what the tag names just then is what was there before.
 * A tag that has moved on since is taken as it is in the end.
 */
async function checkTag(reader: RegistryReader, job: Job, signal: AbortSignal): Promise<void> {
  const { name, reference, digest } = job;
  if (digest === undefined || job.attempts > TAG_ATTEMPTS) return;
  const found = await reader.manifest(name, reference, undefined, signal);
  if (found?.digest !== digest) throw new TagBehindError(`${name}:${reference} does not name ${digest} yet`);
}

/** Worth another try. */
class TagBehindError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TagBehindError';
  }
}

async function askToConvert(options: IngestJobOptions, job: Job, signal: AbortSignal): Promise<string> {
  const { registry, name, reference } = job;
  if (options.rules.ruleFor(name, reference) === undefined) return '';
  const digest = job.digest === undefined ? {} : { digest: job.digest };
  const request = { kind: 'convert', registry, name, reference, ...digest, origin: 'ingest' } as const;
  await options.queue.enqueue([request], signal);
  options.wake();
  return '; to be converted';
}

/** @throws {StarlightError} where the configuration has no such registry any more. */
export function registryOf(registries: JobRegistries, { registry }: Job): JobRegistry {
  const found = registries(registry);
  if (found === undefined) throw new StarlightError({ kind: 'namespace-unknown', namespace: registry });
  return found;
}

function inWords({ images }: IngestResult): string {
  return images
    .map(({ platform, status, manifestDigest }) => `${platform} ${status} ${manifestDigest}`)
    .join(', ');
}
