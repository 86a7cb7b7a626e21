import type { Middleware } from 'koa';
import { same } from '../events/shared-secret.ts';
import { headerOf, httpRoutes, type RouteContext, type SignalState } from '../http-route.ts';
import { StarlightError } from '../starlight-error.ts';
import { isJobId, JOB_STATES, type Job, type JobId, type JobState } from './job.ts';
import { type JobQueue, MAX_LISTED } from './job-queue.ts';
import type { JobView } from '../../../schemas/jobs/job-view.ts';

const DEFAULT_LISTED = 100;

export interface JobRoutesOptions {
  readonly queue: JobQueue;
  /** Stops a job that was cancelled, if it runs in this process. */
  readonly stop: (id: JobId) => void;
  /** What must be presented in `Starlight-Token`; without one nobody may look: jobs name what is in private repositories. */
  readonly token: string | undefined;
}

/** `GET /starlight/jobs`, `GET` and `DELETE /starlight/jobs/<id>`. */
export function jobRoutes(options: JobRoutesOptions): Middleware<SignalState> {
  return httpRoutes([
    { path: /^\/starlight\/jobs$/, methods: { GET: (ctx) => list(ctx, options) } },
    {
      path: /^\/starlight\/jobs\/([^/]+)$/,
      methods: {
        GET: (ctx, [id = '']) => show(ctx, options, id),
        DELETE: (ctx, [id = '']) => cancel(ctx, options, id),
      },
    },
  ]);
}

async function list(ctx: RouteContext, { queue, token }: JobRoutesOptions): Promise<void> {
  checkToken(ctx, token);
  const query = new URLSearchParams(ctx.querystring);
  const state = stateOf(query.get('state'));
  const limit = limitOf(query.get('limit'));
  const jobs = await queue.list({ limit, ...(state === undefined ? {} : { state }) }, ctx.state.signal);
  ctx.body = { jobs: jobs.map(jobView) };
}

async function show(ctx: RouteContext, { queue, token }: JobRoutesOptions, id: string): Promise<void> {
  checkToken(ctx, token);
  const job = isJobId(id) ? await queue.find(id, ctx.state.signal) : undefined;
  if (job === undefined) throw new StarlightError({ kind: 'job-unknown', id: id.slice(0, 80) });
  ctx.body = jobView(job);
}

async function cancel(ctx: RouteContext, options: JobRoutesOptions, id: string): Promise<void> {
  checkToken(ctx, options.token);
  const job = isJobId(id) ? await options.queue.cancel(id, ctx.state.signal) : undefined;
  if (job === undefined) throw new StarlightError({ kind: 'job-unknown', id: id.slice(0, 80) });
  if (job.state === 'cancelled') options.stop(job.id);
  ctx.body = jobView(job);
}

/** A job as the API tells of it. */
export function jobView(job: Job): JobView {
  const { createdMs, updatedMs, notBeforeMs, progress, result, error, ...rest } = job;
  const time = (ms: number) => new Date(ms).toISOString();
  return {
    ...rest,
    created: time(createdMs),
    updated: time(updatedMs),
    ...(job.state === 'queued' ? { notBefore: time(notBeforeMs) } : {}),
    ...(progress === '' ? {} : { progress }),
    ...(result === '' ? {} : { result }),
    ...(error === '' ? {} : { error }),
  };
}

function checkToken(ctx: RouteContext, token: string | undefined): void {
  if (token === undefined) {
    throw new StarlightError({ kind: 'off', what: 'looking at jobs', setting: 'starlight.token' });
  }
  if (!same(headerOf(ctx)('starlight-token') ?? '', token)) throw new StarlightError({ kind: 'token' });
}

function stateOf(text: string | null): JobState | undefined {
  if (text === null || text === '') return undefined;
  const state = JOB_STATES.find((one) => one === text);
  if (state !== undefined) return state;
  throw new StarlightError({
    kind: 'invalid-request',
    reason: `state: expected one of ${JOB_STATES.join(', ')}`,
  });
}

function limitOf(text: string | null): number {
  if (text === null) return DEFAULT_LISTED;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_LISTED) return limit;
  throw new StarlightError({ kind: 'invalid-request', reason: `limit: expected 1 to ${MAX_LISTED}` });
}
