import type { Middleware } from 'koa';
import type { RequestState } from '../request-state.ts';
import type { LimitsConfig } from './config.ts';
import { checkShape } from './request-shape.ts';

/** Stands before all routes: lets through what keeps to the limits. */
export function limitRequests({ targetBytes }: LimitsConfig): Middleware<RequestState> {
  return async (ctx, next) => {
    checkShape(ctx.req, targetBytes);
    await next();
  };
}
