import type { Middleware } from 'koa';

/** A number that whoever watches the proxy may read: of the whole process, and of nobody's images. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly value: () => number | Promise<number>;
}

/** Prometheus' text format (its documentation, "Exposition formats"). */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** `GET /metrics`. */
export function metricsRoute(metrics: readonly Metric[]): Middleware {
  return async (ctx, next) => {
    if (ctx.path !== '/metrics') return next();
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD') {
      ctx.status = 405;
      ctx.set('Allow', 'GET, HEAD');
      return;
    }
    ctx.set('Cache-Control', 'no-store');
    ctx.body = await metricsText(metrics);
    ctx.set('Content-Type', CONTENT_TYPE);
  };
}

export async function metricsText(metrics: readonly Metric[]): Promise<string> {
  const values = await Promise.all(metrics.map(async ({ value }) => await value()));
  const lines = metrics.flatMap(({ name, help, type }, row) => [
    `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
    `# TYPE ${name} ${type}`,
    `${name} ${values[row]}`,
  ]);
  return lines.map((line) => `${line}\n`).join('');
}
