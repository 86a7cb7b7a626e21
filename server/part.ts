import type { Middleware } from 'koa';
import type { ShutdownStep } from '../schemas/process/shutdown.ts';
import type { ReadinessCheck } from './health.ts';
import type { Metric } from './metrics.ts';
import type { RequestState } from './request-state.ts';

/** Something wired, and what it adds to the process. */
export interface Part {
  readonly routes: readonly Middleware<RequestState>[];
  readonly checks: readonly ReadinessCheck[];
  /** Beside those of its checks. */
  readonly metrics?: readonly Metric[];
  /** Closed after the HTTP server, in the reverse of the order in which the parts were made. */
  readonly closing: readonly ShutdownStep[];
  /** What is read again on SIGHUP. None of it throws: each logs its own failure and keeps what it had. */
  readonly reloading?: readonly (() => Promise<void>)[];
}
