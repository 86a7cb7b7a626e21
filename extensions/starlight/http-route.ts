import type { Context, Middleware } from 'koa';
import { type HttpError, httpErrorOf } from './http-error.ts';
import { JobQueueFullError } from './jobs/job-queue.ts';
import { StarlightError } from './starlight-error.ts';

/** What the routes need of `ctx.state`: a signal that is aborted when the client goes away. */
export interface SignalState {
  readonly signal: AbortSignal;
}
export type RouteContext = Context & { readonly state: SignalState };

export interface HttpRoute {
  /** Of the whole path; its groups are handed on. */
  readonly path: RegExp;
  readonly methods: Readonly<
    Record<string, (ctx: RouteContext, groups: readonly string[]) => Promise<void> | void>
  >;
}

/** When a client may ask again while the queue is full. */
const FULL_RETRY_AFTER_S = '30';

/** Answers these routes; everything else goes on to `next`. `send` writes faults in the form of the API at hand. */
export function httpRoutes(
  routes: readonly HttpRoute[],
  send: (ctx: RouteContext, error: Omit<HttpError, 'headers'>) => void = sendErrors,
): Middleware<SignalState> {
  return async (context, next) => {
    const ctx = context as RouteContext; // state is what the server put there
    for (const { path, methods } of routes) {
      const match = path.exec(ctx.path);
      if (match === null) continue;
      const handler = methods[ctx.method];
      if (handler === undefined) {
        ctx.set('Allow', Object.keys(methods).join(', '));
        send(ctx, { status: 405, code: 'UNSUPPORTED', message: 'the endpoint does not have this method' });
        return;
      }
      try {
        await handler(ctx, match.slice(1));
      } catch (error) {
        const known = ctx.headerSent ? undefined : httpErrorOf(asFault(error));
        if (known === undefined) throw error;
        for (const [name, values] of known.headers) ctx.set(name, [...values]);
        send(ctx, known);
      }
      return;
    }
    await next();
  };
}

function asFault(error: unknown): unknown {
  if (!(error instanceof JobQueueFullError)) return error;
  const what = `the queue of jobs, where ${error.limit} are waiting,`;
  return new StarlightError({ kind: 'unavailable', what, retryAfter: FULL_RETRY_AFTER_S }, { cause: error });
}

/** In the form of the distribution-spec. */
function sendErrors(ctx: RouteContext, { status, code, message, detail }: Omit<HttpError, 'headers'>): void {
  ctx.status = status;
  ctx.body = { errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] };
}

/** The first value of a header, by its name in lower case. */
export function headerOf(ctx: RouteContext): (name: string) => string | undefined {
  return (name) => {
    const value = ctx.req.headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
}
