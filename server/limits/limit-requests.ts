import type { Middleware } from 'koa';
import type { RequestState } from '../request-state.ts';
import { ClientAddresses } from './client-address.ts';
import type { LimitsConfig } from './config.ts';
import { LimitError } from './limit-error.ts';
import { RequestRate } from './request-rate.ts';
import { checkShape } from './request-shape.ts';

/** Stands before all routes but those of health: lets through what keeps to the limits. */
export function limitRequests(limits: LimitsConfig, nowMs: () => number): Middleware<RequestState> {
  const { targetBytes, requestsPerS, requestBurst } = limits;
  const clients = new ClientAddresses(limits);
  const rate =
    requestsPerS === 0 ? undefined : new RequestRate({ perS: requestsPerS, burst: requestBurst, nowMs });
  return async (ctx, next) => {
    const retryAfterS = rate?.take(clients.of(ctx.req));
    if (retryAfterS !== undefined) throw new LimitError({ kind: 'too-many-requests', retryAfterS });
    checkShape(ctx.req, targetBytes);
    await next();
  };
}
