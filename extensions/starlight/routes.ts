import { createHash, timingSafeEqual } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { Type } from '@sinclair/typebox';
import type { Context, Middleware } from 'koa';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { isRepositoryName } from '../../schemas/oci/reference.ts';
import type { UpstreamList } from '../../schemas/upstreams/upstream-list.ts';
import type { DeltaService } from './delta.ts';
import { httpErrorOf } from './http-error.ts';
import type { Ingester } from './ingest.ts';
import { type JsonBodyLimits, readJsonBody } from './json-body.ts';
import {
  bodyParser,
  type DeltaQuestion,
  questionFromBody,
  questionFromQuery,
  wantedImage,
} from './question.ts';
import { rangeStart } from './range-start.ts';
import type { CallerAuthorization } from './registry-reader.ts';
import { type Reporter, reportFromBody } from './report.ts';
import { type FrontedRepository, notFronted, type RepositoryChoice } from './repository-choice.ts';
import { StarlightError } from './starlight-error.ts';

const MAX_DELTA_BODY_BYTES = 1 << 20;
const MAX_NOTIFY_BODY_BYTES = 16 << 10;
const MAX_REPORT_BODY_BYTES = 32 << 20;
const MAX_UNKNOWN_CHARS = 4 << 10;

export interface StarlightRoutesOptions extends JsonBodyLimits {
  readonly repositories: RepositoryChoice;
  /** What clients may know of the registries that are fronted. */
  readonly upstreams: UpstreamList;
  readonly delta: DeltaService;
  readonly ingester: Ingester;
  readonly reporter: Reporter;
  /** What notify and report must present in `Starlight-Token`; undefined leaves them open. */
  readonly token: string | undefined;
  /** Throws where a caller may not know of the extensions, of a repository or at all; undefined: everybody may. */
  readonly mayDiscover?: ((name: string | undefined, auth: CallerAuthorization) => Promise<void>) | undefined;
}

/** What the routes need of `ctx.state`: a signal that is aborted when the client goes away. */
export interface SignalState {
  readonly signal: AbortSignal;
}
type StarlightContext = Context & { readonly state: SignalState };

const parseNotify = bodyParser(
  Type.Object({
    reference: Type.String({ minLength: 1, maxLength: 512 }),
    ns: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
  }),
);

const EXTENSIONS = {
  extensions: [
    {
      name: '_starlight',
      description: 'Delta bundles: start containers before their contents have arrived',
      url: 'https://github.com/mc256/starlight',
      endpoints: ['/starlight/delta', '/starlight/notify', '/starlight/report', '/starlight/upstreams'],
    },
  ],
};

type Handler = (ctx: StarlightContext, options: StarlightRoutesOptions) => Promise<void>;
const ROUTES: Readonly<Record<string, Readonly<Record<string, Handler>>>> = {
  '/starlight/delta': { GET: getDelta, POST: postDelta },
  '/starlight/notify': { POST: notify },
  '/starlight/report': { POST: report },
  '/starlight/upstreams': { GET: listUpstreams },
};

/** `/starlight/…` and the discovery of extensions; everything else goes on to `next`. */
export function starlightRoutes(options: StarlightRoutesOptions): Middleware<SignalState> {
  return async (ctx, next) => {
    const methods = discoveryPath(ctx.path) !== undefined ? { GET: discover } : ROUTES[ctx.path];
    if (methods === undefined) return await next();
    const handler = methods[ctx.method];
    if (handler === undefined) {
      ctx.set('Allow', Object.keys(methods).join(', '));
      return sendError(ctx, {
        status: 405,
        code: 'UNSUPPORTED',
        message: 'the endpoint does not have this method',
      });
    }
    try {
      await handler(ctx as StarlightContext, options); // state is what the server put there
    } catch (error) {
      const known = ctx.headerSent ? undefined : httpErrorOf(error);
      if (known === undefined) throw error;
      for (const [name, values] of known.headers) ctx.set(name, [...values]);
      sendError(ctx, known);
    }
  };
}

/** `/v2/_oci/ext/discover` and `/v2/<name>/_oci/ext/discover`; undefined where it is neither. */
function discoveryPath(path: string): { readonly name: string | undefined } | undefined {
  const match = /^\/v2(?:\/(.+))?\/_oci\/ext\/discover$/.exec(path);
  return match !== null && (match[1] === undefined || isRepositoryName(match[1]))
    ? { name: match[1] }
    : undefined;
}

async function discover(ctx: StarlightContext, { mayDiscover }: StarlightRoutesOptions): Promise<void> {
  await mayDiscover?.(discoveryPath(ctx.path)?.name, header(ctx, 'authorization'));
  ctx.body = EXTENSIONS;
}

async function listUpstreams(
  ctx: StarlightContext,
  { upstreams, mayDiscover }: StarlightRoutesOptions,
): Promise<void> {
  await mayDiscover?.(undefined, header(ctx, 'authorization'));
  ctx.body = upstreams;
}

async function getDelta(ctx: StarlightContext, options: StarlightRoutesOptions): Promise<void> {
  await sendDelta(ctx, options, questionFromQuery(new URLSearchParams(ctx.querystring)));
}

async function postDelta(ctx: StarlightContext, options: StarlightRoutesOptions): Promise<void> {
  const body = await readJsonBody(ctx, options, MAX_DELTA_BODY_BYTES);
  await sendDelta(ctx, options, questionFromBody(body));
}

async function sendDelta(
  ctx: StarlightContext,
  { repositories, delta }: StarlightRoutesOptions,
  question: DeltaQuestion,
): Promise<void> {
  const { signal } = ctx.state;
  const ifRange = header(ctx, 'if-range');
  const caller = {
    repositoryOf: (name: string) => repositories(question.namespace, name, header(ctx, 'host')),
    auth: header(ctx, 'authorization'),
  };
  const answer = await delta.answer(question, caller, ifRange, signal);
  const { etag, sizeBytes, unknownFrom } = answer;
  ctx.set('ETag', etag);
  ctx.set('Accept-Ranges', 'bytes');
  // The answer hangs on the caller's rights: it may be kept by the caller, and is to be asked for anew each time.
  ctx.set('Cache-Control', 'private, no-cache');
  ctx.set('Vary', 'Authorization');
  if (unknownFrom.length > 0) ctx.set('Starlight-Unknown-From', unknownFromHeader(unknownFrom));
  if (ctx.method === 'GET' && header(ctx, 'if-none-match') === etag) {
    ctx.status = 304;
    return;
  }
  const start = ifRange === undefined || ifRange === etag ? rangeStart(header(ctx, 'range')) : 0;
  if (start >= sizeBytes) {
    ctx.set('Content-Range', `bytes */${sizeBytes}`);
    return sendError(ctx, {
      status: 416,
      code: 'INVALID_REQUEST',
      message: 'the range lies beyond the bundle',
    });
  }
  ctx.status = start > 0 ? 206 : 200;
  if (start > 0) ctx.set('Content-Range', `bytes ${start}-${sizeBytes - 1}/${sizeBytes}`);
  ctx.set('Content-Type', MEDIA_TYPE.starlightBundle);
  ctx.set('Content-Length', String(sizeBytes - start));
  // Written here and not by Koa, which would leave the connection open when the stream breaks off.
  ctx.respond = false;
  ctx.res.flushHeaders();
  await pipeline(() => answer.bytesFrom(start, signal), ctx.res, { signal });
}

/** As many as fit, and how many more: Node's clients take 16 KiB of headers. The bundle's own header names all. */
function unknownFromHeader(unknown: readonly string[]): string {
  const told: string[] = [];
  let left = MAX_UNKNOWN_CHARS;
  for (const image of unknown) {
    left -= image.length + 2;
    if (left < 0) return [...told, `and ${unknown.length - told.length} more`].join(', ');
    told.push(image);
  }
  return told.join(', ');
}

async function notify(ctx: StarlightContext, options: StarlightRoutesOptions): Promise<void> {
  checkToken(ctx, options.token);
  const body = parseNotify(await readJsonBody(ctx, options, MAX_NOTIFY_BODY_BYTES));
  const { name, reference } = wantedImage(body.reference);
  const fronted = choose(ctx, options.repositories, body.ns, name);
  const repository = { ...fronted, auth: header(ctx, 'authorization') };
  try {
    ctx.body = await options.ingester.ingest(repository, reference, ctx.state.signal);
  } catch (error) {
    const known = httpErrorOf(error);
    if (known?.code !== 'NOT_CONVERTED') throw error;
    sendError(ctx, { ...known, status: 422 });
  }
}

async function report(ctx: StarlightContext, options: StarlightRoutesOptions): Promise<void> {
  checkToken(ctx, options.token);
  const told = reportFromBody(await readJsonBody(ctx, options, MAX_REPORT_BODY_BYTES));
  const repository = choose(ctx, options.repositories, told.namespace, told.name);
  const { reader, name } = repository;
  // Asked first: else the answer would tell whoever may not pull which images are known.
  const pulled = await reader.manifest(name, told.image, header(ctx, 'authorization'), ctx.state.signal);
  if (pulled === undefined) throw new StarlightError({ kind: 'image-unknown', manifest: told.image });
  ctx.body = { accepted: await options.reporter.report(repository, told, ctx.state.signal) };
}

function choose(
  ctx: StarlightContext,
  repositories: RepositoryChoice,
  namespace: string | undefined,
  name: string,
): FrontedRepository {
  const repository = repositories(namespace, name, header(ctx, 'host'));
  if (repository === undefined) throw notFronted(namespace, name);
  return repository;
}

/** Compared by digest, so that neither content nor length shows in the time it takes. */
function checkToken(ctx: StarlightContext, token: string | undefined): void {
  if (token === undefined) return;
  const digest = (text: string) => createHash('sha256').update(text).digest();
  if (!timingSafeEqual(digest(header(ctx, 'starlight-token') ?? ''), digest(token))) {
    throw new StarlightError({ kind: 'token' });
  }
}

function header(ctx: StarlightContext, name: string): string | undefined {
  const value = ctx.req.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function sendError(
  ctx: Pick<Context, 'status' | 'body'>,
  { status, code, message, detail }: { status: number; code: string; message: string; detail?: unknown },
): void {
  ctx.status = status;
  ctx.body = { errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] };
}
