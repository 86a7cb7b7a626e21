import type { Middleware } from 'koa';
import { errorAnswer, ociErrorOf } from './errors.ts';
import { type Logger, loggedUrl } from './log.ts';
import { RegistryError } from './registry/registry-error.ts';
import type { RequestState } from './request-state.ts';
import { sendAnswer } from './send-answer.ts';

/**
 * The outermost middleware: gives each request its signal, turns what is thrown into an answer (`errors.ts`) and
 * logs one line per request, without headers.
 */
export function requestLog(logger: Logger, nowMs: () => number): Middleware<RequestState> {
  return async (ctx, next) => {
    const { req, res } = ctx;
    const started = nowMs();
    const gone = new AbortController();
    ctx.state = { signal: gone.signal };
    let failure: unknown;
    res.once('close', () => {
      if (!res.writableFinished) gone.abort(new ClientGoneError());
      const entry = {
        method: ctx.method,
        url: loggedUrl(ctx.originalUrl),
        status: res.statusCode,
        ms: Math.round(nowMs() - started),
        ...(ctx.get('user-agent') === '' ? {} : { agent: ctx.get('user-agent').slice(0, 200) }),
      };
      if (!res.writableFinished) logger.info({ ...entry, cut: true, ...causeOf(failure) }, 'request cut');
      else if (res.statusCode >= 500) logger.error({ ...entry, ...causeOf(failure) }, 'request failed');
      else logger.info(entry, 'request');
    });
    try {
      await next();
    } catch (error) {
      failure = error;
      ctx.respond = false;
      if (res.headersSent || gone.signal.aborted) {
        res.destroy();
        return;
      }
      try {
        const answer = errorAnswer(ociErrorOf(error));
        await sendAnswer(ctx.method === 'HEAD' ? withoutBody(answer) : answer, req, res, gone.signal);
      } catch {
        res.destroy(); // the client went away while it was told; the line above says so
      }
    }
  };
}

/** The reason of a request's signal. */
export class ClientGoneError extends Error {
  constructor() {
    super('the client went away');
    this.name = 'ClientGoneError';
  }
}

function withoutBody<T extends { readonly body?: unknown }>({ body: _, ...rest }: T): Omit<T, 'body'> {
  return rest;
}

function causeOf(failure: unknown): { readonly err?: unknown } {
  if (failure === undefined || failure instanceof ClientGoneError) return {};
  // What was foreseen needs no stack, only what lay behind it.
  if (failure instanceof RegistryError && failure.cause === undefined) return { err: failure.message };
  return { err: failure };
}
