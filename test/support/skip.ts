import type { Context, Runnable, Suite, Test } from 'mocha';

const reasons = new WeakMap<Runnable | Suite, string>();

/**
 * Skips the test that calls it, or from a `before` hook every test of its suite, and keeps the reason for the
 * report at the end of the run. In CI a skipped test is a failure, so the reason is what the machine lacks.
 *
 * @example
 * before(function () {
 *   if (process.getuid?.() !== 0) skip(this, 'not root');
 * });
 */
export function skip(context: Context, reason: string): never {
  const runnable: Runnable | undefined = context.runnable?.() ?? context.test;
  if (runnable !== undefined) {
    const isHook = 'type' in runnable && runnable.type === 'hook';
    reasons.set(isHook && runnable.parent !== undefined ? runnable.parent : runnable, reason);
  }
  return context.skip();
}

/** Why `test` was skipped: its own reason or that of a suite around it. */
export function skipReason(test: Test): string | undefined {
  let suite = test.parent;
  let reason = reasons.get(test);
  while (reason === undefined && suite !== undefined) {
    reason = reasons.get(suite);
    suite = suite.parent;
  }
  return reason;
}
