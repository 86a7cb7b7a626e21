import type { Middleware } from 'koa';
import { SingleFlight } from '../schemas/concurrency/single-flight.ts';
import type { Metric } from './metrics.ts';

/** How long one check may take before it counts as failed. */
const CHECK_LIMIT_MS = 3_000;

/** Something that requests are served with. */
export interface ReadinessCheck {
  /** Lower case letters: it is part of a metric's name. */
  readonly name: string;
  /**
   * True: without it registry traffic cannot be served. False: that goes on without it, and a replica which is as well
   * off as the others must not be taken away from clients that know nothing of Starlight.
   */
  readonly required: boolean;
  /** Rejects where it is not ready. Its message goes to the log only. */
  check(signal: AbortSignal): Promise<void>;
}

export interface HealthOptions {
  readonly checks: readonly ReadinessCheck[];
  /** True until everything has been opened once: a replica that cannot be, being set up wrongly, gets no traffic. */
  readonly starting: () => boolean;
  /** True from SIGTERM on: no new requests are wanted. */
  readonly draining: () => boolean;
  /** Told, once it has started, when a check fails that did not before, with why, and when it passes again. */
  readonly onChange: (check: string, error?: unknown) => void;
}

/** What `/readyz` tells; by 503 unless it is `ok` or `degraded`. */
export interface Readiness {
  readonly status: 'ok' | 'degraded' | 'failed' | 'starting' | 'draining';
  readonly checks: Readonly<Record<string, 'ok' | 'failed'>>;
}

/** Whether the process may be sent requests, found out anew each time it is asked. */
export class Health {
  readonly #options: HealthOptions;
  readonly #flights = new SingleFlight<void>();
  /** Those that failed when they were last asked. */
  readonly #failed = new Set<string>();

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  async readiness(): Promise<Readiness> {
    const { checks } = this.#options;
    const results = await Promise.all(
      checks.map(async (one) => ({ ...one, result: (await this.#passes(one)) ? 'ok' : 'failed' }) as const),
    );
    const failed = results.filter(({ result }) => result === 'failed');
    return {
      status: this.#status(failed),
      checks: Object.fromEntries(results.map(({ name, result }) => [name, result])),
    };
  }

  /** One for each check: 1 while it passes. */
  get metrics(): readonly Metric[] {
    return this.#options.checks.map((one) => ({
      name: `starlight_${one.name}_up`,
      help: `1 while the check "${one.name}" of /readyz passes, 0 while it fails.`,
      type: 'gauge',
      value: async () => ((await this.#passes(one)) ? 1 : 0),
    }));
  }

  #status(failed: readonly ReadinessCheck[]): Readiness['status'] {
    const { starting, draining } = this.#options;
    if (draining()) return 'draining';
    if (starting()) return 'starting';
    if (failed.some(({ required }) => required)) return 'failed';
    return failed.length > 0 ? 'degraded' : 'ok';
  }

  async #passes({ name, check }: ReadinessCheck): Promise<boolean> {
    try {
      await this.#flights.run(name, check, AbortSignal.timeout(CHECK_LIMIT_MS));
      if (this.#failed.delete(name)) this.#options.onChange(name);
      return true;
    } catch (error) {
      if (this.#options.starting() || this.#failed.has(name)) return false;
      this.#failed.add(name);
      this.#options.onChange(name, error);
      return false;
    }
  }
}

/** `/healthz`: 200 as long as the process runs. `/readyz`: 200 or 503, and {@link Readiness}. */
export function healthRoutes(health: Health): Middleware {
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
    const readiness = await health.readiness();
    ctx.status = readiness.status === 'ok' || readiness.status === 'degraded' ? 200 : 503;
    ctx.body = readiness;
  };
}
