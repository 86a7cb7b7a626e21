import type { Middleware } from 'koa';
import type { RepositoryKey } from '../directory.ts';
import { headerOf, httpRoutes, type RouteContext, type SignalState } from '../http-route.ts';
import type { JobIntake, KnownPush } from '../jobs/intake.ts';
import { type JsonBodyLimits, readJsonBody } from '../json-body.ts';
import { StarlightError } from '../starlight-error.ts';
import { readEvents } from './read-events.ts';
import { presentsSecret } from './shared-secret.ts';

/** zot's events carry the manifest, which registries take up to 4 MiB of, as a string. */
const MAX_EVENTS_BODY_BYTES = 8 << 20;

export interface EventRoutesOptions extends JsonBodyLimits {
  readonly intake: JobIntake;
  /** The repository of the registry at `ns` (the default one where that is undefined), as the directory has it. */
  readonly repositoryOf: (
    ns: string | undefined,
    name: string,
    host: string | undefined,
  ) => RepositoryKey | undefined;
  /** Without it there are no webhooks. */
  readonly secret: string | undefined;
}

/** `POST /starlight/events`: what registries tell of pushes, in any of the formats that are known. */
export function eventRoutes(options: EventRoutesOptions): Middleware<SignalState> {
  return httpRoutes([{ path: /^\/starlight\/events$/, methods: { POST: (ctx) => take(ctx, options) } }]);
}

async function take(ctx: RouteContext, options: EventRoutesOptions): Promise<void> {
  const header = headerOf(ctx);
  checkSecret(header('authorization'), options.secret);
  const body = await readJsonBody(ctx, options, MAX_EVENTS_BODY_BYTES);
  const { pushed, ignored } = readEvents(body, header);
  const ns = new URLSearchParams(ctx.querystring).get('ns') || undefined;
  const known = pushed.flatMap((push): KnownPush[] => {
    const repository = options.repositoryOf(ns, push.name, header('host'));
    return repository === undefined
      ? []
      : [{ ...push, registry: repository.registry, name: repository.name }];
  });
  const jobs = await options.intake.take(known, 'event', ctx.state.signal);
  ctx.status = 202;
  ctx.body = { jobs, ignored: ignored + pushed.length - jobs.length };
}

/** @throws {StarlightError} */
export function checkSecret(authorization: string | undefined, secret: string | undefined): void {
  if (secret === undefined) {
    throw new StarlightError({ kind: 'off', what: 'this endpoint', setting: 'events.secret' });
  }
  if (!presentsSecret(authorization, secret)) throw new StarlightError({ kind: 'secret' });
}
