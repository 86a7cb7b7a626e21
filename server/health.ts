import type { Middleware } from 'koa';
import { whenAborted } from '../schemas/concurrency/when-aborted.ts';

/** How long one check may take before it counts as failed. */
const CHECK_LIMIT_MS = 3_000;

/** Something without which requests cannot be served. */
export interface ReadinessCheck {
  readonly name: string;
  /** Rejects where it is not ready. Its message goes to the log only. */
  check(signal: AbortSignal): Promise<void>;
}

export interface HealthOptions {
  readonly checks: readonly ReadinessCheck[];
  /** True from SIGTERM on: no new requests are wanted. */
  readonly draining: () => boolean;
  readonly onFailure: (check: string, error: unknown) => void;
}

/**
 * `/healthz`: 200 as long as the process runs. `/readyz`: 200 if every check passes and the process is not about
 * to end, else 503; the answer names each check.
 */
export function healthRoutes({ checks, draining, onFailure }: HealthOptions): Middleware {
  return async (ctx, next) => {
    if (ctx.path !== '/healthz' && ctx.path !== '/readyz') return next();
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD') {
      ctx.status = 405;
      ctx.set('Allow', 'GET, HEAD');
      return;
    }
    ctx.set('Cache-Control', 'no-store');
    if (ctx.path === '/healthz') {
      ctx.body = { status: 'ok' };
      return;
    }
    const results = await Promise.all(
      checks.map(async ({ name, check }) => {
        try {
          const limit = AbortSignal.timeout(CHECK_LIMIT_MS);
          await Promise.race([check(limit), whenAborted(limit)]);
          return [name, 'ok'] as const;
        } catch (error) {
          onFailure(name, error);
          return [name, 'failed'] as const;
        }
      }),
    );
    const failed = results.some(([, result]) => result !== 'ok');
    ctx.status = failed || draining() ? 503 : 200;
    ctx.body = {
      status: draining() ? 'draining' : failed ? 'failed' : 'ok',
      checks: Object.fromEntries(results),
    };
  };
}
