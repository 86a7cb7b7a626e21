import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Directory } from '../../extensions/starlight/directory.ts';
import { type EventRoutesOptions, eventRoutes } from '../../extensions/starlight/events/routes.ts';
import { scannerRoutes } from '../../extensions/starlight/events/scanner-routes.ts';
import type { Ingester } from '../../extensions/starlight/ingest.ts';
import { systemClock } from '../../extensions/starlight/jobs/clock.ts';
import { ConvertRules } from '../../extensions/starlight/jobs/convert-rules.ts';
import { JobIntake } from '../../extensions/starlight/jobs/intake.ts';
import type { Job } from '../../extensions/starlight/jobs/job.ts';
import type { JobOutcome, JobQueue } from '../../extensions/starlight/jobs/job-queue.ts';
import type { JobRegistry } from '../../extensions/starlight/jobs/job-registry.ts';
import { PushBacklog } from '../../extensions/starlight/jobs/push-backlog.ts';
import { JobRunner } from '../../extensions/starlight/jobs/job-runner.ts';
import { Reconciler } from '../../extensions/starlight/jobs/reconciler.ts';
import { jobRoutes } from '../../extensions/starlight/jobs/routes.ts';
import { convertJobs } from '../../extensions/starlight/jobs/run-convert.ts';
import { ingestJobs } from '../../extensions/starlight/jobs/run-ingest.ts';
import type { ServerConfig } from '../config.ts';
import type { Logger } from '../log.ts';
import type { Part } from '../part.ts';
import type { PushRelay } from './push-relay.ts';

export interface JobsPartOptions {
  readonly config: Pick<ServerConfig, 'events' | 'convert' | 'limits' | 'starlight'>;
  readonly directory: Directory;
  readonly queue: JobQueue;
  readonly ingester: Ingester;
  readonly registries: ReadonlyMap<string, JobRegistry>;
  readonly repositoryOf: EventRoutesOptions['repositoryOf'];
  readonly pushes: PushRelay;
  readonly version: string;
  readonly logger: Logger;
}

export interface JobsPart extends Part {
  /** Begins the work: the queue can be asked. */
  readonly start: () => void;
}

/** Wires events, the queue's runner, reconciliation, and the routes over them. */
export function jobsPart(options: JobsPartOptions): JobsPart {
  const { config, directory, queue, ingester, registries, repositoryOf, pushes, version, logger } = options;
  const { secret, repositories: patterns, reconcileMs, leaseMs } = config.events;
  const { ingestsAtOnce, conversionsAtOnce } = config.events;
  const owner = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const rules = new ConvertRules(config.convert);
  const byKey = (key: string) => registries.get(key);
  const wake = () => runner.wake();
  const common = { registries: byKey, rules, queue, wake };
  const runner = new JobRunner({
    queue,
    handlers: {
      ingest: ingestJobs({ ...common, ingester, atOnce: ingestsAtOnce }),
      convert: convertJobs({ ...common, atOnce: conversionsAtOnce }),
    },
    owner,
    leaseMs,
    clock: systemClock,
    random: Math.random,
    onEnd: (job, outcome) => logEnd(logger, job, outcome),
    onError: (error) => logger.warn({ err: error }, 'the queue of jobs cannot be asked'),
  });
  const intake = new JobIntake({ queue, patterns, wake });
  const backlog = new PushBacklog({
    take: (pushed, signal) => intake.take(pushed, 'push', signal),
    clock: systemClock,
    onDelay: (error) => logger.warn({ err: error }, 'pushes wait for the queue of jobs'),
    onLost: (error, pushed) => {
      const images = pushed.map(({ registry, name, reference }) => ({ registry, name, reference }));
      logger.warn({ err: error, images }, 'pushes will not be ingested');
    },
  });
  pushes.listen((registry, pushed) => backlog.add(pushed.map((push) => ({ ...push, registry }))));
  const reconciler = new Reconciler({
    ...{ directory, queue, intake, registries: byKey, keys: [...registries.keys()], owner },
    everyMs: reconcileMs,
    clock: systemClock,
    random: Math.random,
    onEnd: (event) => logger.info(event, 'reconciled'),
    onError: (error, where) => logger.warn({ err: error, where }, 'not reconciled'),
  });
  const told = { intake, repositoryOf, secret, maxJsonBytes: config.limits.jsonBytes };
  return {
    start: () => {
      runner.start();
      if (reconcileMs > 0) reconciler.start();
    },
    routes: [
      eventRoutes(told),
      scannerRoutes({ ...told, queue, version }),
      jobRoutes({ queue, stop: (id) => runner.stop(id), token: config.starlight.token }),
    ],
    checks: [],
    closing: [
      { name: 'jobs', close: () => runner.close() },
      { name: 'reconciliation', close: () => reconciler.close() },
      { name: 'pushes', close: async () => backlog.close() },
    ],
  };
}

function logEnd(logger: Logger, job: Job, outcome: JobOutcome | 'lost'): void {
  const { id, kind, registry, name, reference, origin } = job;
  const fields = { job: id, kind, registry, name, reference, origin };
  if (outcome === 'lost') logger.info(fields, 'job cancelled, or taken over');
  else if (outcome.kind === 'failed' || outcome.kind === 'retry') {
    logger.warn({ ...fields, outcome: outcome.kind, reason: outcome.error }, 'job failed');
  } else logger.info({ ...fields, outcome: outcome.kind }, 'job ended');
}
