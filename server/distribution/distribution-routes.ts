import type { Middleware } from 'koa';
import type { Registry, RegistryMethod } from '../registry/registry.ts';
import { REGISTRY_METHODS } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import type { RequestState } from '../request-state.ts';
import { sendAnswer } from '../send-answer.ts';
import type { FileSender } from '../sendfile/file-sender.ts';
import { ENDPOINT_METHODS, parseEndpoint } from './endpoint.ts';

/** A host, with or without a port, as containerd names the registry that it takes us for a mirror of. */
const NAMESPACE = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253})|\[[0-9a-fA-F:]{2,45}\])(?::\d{1,5})?$/;

export interface DistributionOptions {
  /** The one namespace (`?ns=`) that is served; undefined serves any. */
  readonly namespace?: string;
  /** Sends blobs that are files of this machine; without it they are streamed. */
  readonly files?: FileSender;
}

/** The endpoints of the OCI distribution API below `/v2/`, answered by one registry. Everything else is passed on. */
export function distributionRoutes(
  registry: Registry,
  options: DistributionOptions,
): Middleware<RequestState> {
  return async (ctx, next) => {
    if (ctx.path !== '/v2' && !ctx.path.startsWith('/v2/')) return next();
    const endpoint = parseEndpoint(ctx.path);
    if (endpoint === undefined) throw new RegistryError({ kind: 'endpoint-unknown' });
    const allow = ENDPOINT_METHODS[endpoint.kind];
    const method = REGISTRY_METHODS.find((one) => one === ctx.method);
    if (method === undefined || !allow.includes(method)) {
      throw new RegistryError({ kind: 'method-unsupported', allow });
    }
    const query = new URLSearchParams(ctx.querystring);
    const namespace = servedNamespace(query.get('ns'), options.namespace);
    const signal = ctx.state.signal;
    const answer = await registry.answer({
      endpoint,
      method: method satisfies RegistryMethod,
      query,
      rawQuery: ctx.querystring,
      headers: ctx.req.headers,
      rawHeaders: ctx.req.rawHeaders,
      body: ctx.req,
      signal,
    });
    const named = namespace === undefined ? [] : ([['OCI-Namespace', namespace]] as const);
    ctx.respond = false;
    await sendAnswer(
      { ...answer, headers: [...answer.headers, ...named] },
      ctx.req,
      ctx.res,
      signal,
      options.files,
    );
  };
}

function servedNamespace(asked: string | null, served: string | undefined): string | undefined {
  if (asked === null) return undefined;
  if (!NAMESPACE.test(asked)) {
    throw new RegistryError({ kind: 'parameter-invalid', reason: 'the parameter "ns" must be a host' });
  }
  if (served !== undefined && asked !== served) {
    throw new RegistryError({ kind: 'namespace-unknown', namespace: asked });
  }
  return asked;
}
