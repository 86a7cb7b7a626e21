import type { Middleware } from 'koa';
import { HOST_PATTERN } from '../../schemas/oci/host.ts';
import type { Registry, RegistryMethod } from '../registry/registry.ts';
import { REGISTRY_METHODS } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import type { RequestState } from '../request-state.ts';
import { sendAnswer } from '../send-answer.ts';
import type { FileSender } from '../sendfile/file-sender.ts';
import { ENDPOINT_METHODS, parseEndpoint } from './endpoint.ts';

/** As containerd names the registry that it takes us for a mirror of. */
const NAMESPACE = new RegExp(HOST_PATTERN);

export interface DistributionOptions {
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
    if (query.getAll('ns').some((host) => !NAMESPACE.test(host))) {
      throw new RegistryError({ kind: 'parameter-invalid', reason: 'the parameter "ns" must be a host' });
    }
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
    ctx.respond = false;
    await sendAnswer(answer, ctx.req, ctx.res, signal, options.files);
  };
}
