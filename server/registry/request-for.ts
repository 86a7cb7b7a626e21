import { Readable } from 'node:stream';
import type { Endpoint, HeaderList, RegistryMethod, RegistryRequest } from './registry.ts';

/** What of the caller's headers goes with a request of ours: who they are, and what they are. */
const CALLERS: ReadonlySet<string> = new Set(['authorization', 'cookie', 'user-agent']);

export interface OwnRequest<E extends Endpoint> {
  readonly endpoint: E;
  readonly method: RegistryMethod;
  readonly query?: URLSearchParams;
  readonly headers?: HeaderList;
  /** The length of bytes is told; that of a stream must stand in `headers`. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
}

/** A request that no client sent. */
export function ownRequest<E extends Endpoint>(
  { endpoint, method, query = new URLSearchParams(), headers = [], body }: OwnRequest<E>,
  signal: AbortSignal,
): RegistryRequest<E> {
  const length: HeaderList = body instanceof Uint8Array ? [['Content-Length', String(body.byteLength)]] : [];
  const all = [...headers, ...length];
  return {
    endpoint,
    method,
    query,
    rawQuery: query.toString(),
    headers: Object.fromEntries(all.map(([name, value]) => [name.toLowerCase(), value])),
    rawHeaders: all.flat(),
    body: Readable.from(body === undefined ? [] : body instanceof Uint8Array ? [body] : body, {
      objectMode: false,
    }),
    signal,
  };
}

/** A request of our own on behalf of whoever sent `origin`: with their credentials, within their namespace. */
export function requestFor<E extends Endpoint>(
  origin: RegistryRequest,
  { headers = [], ...own }: Omit<OwnRequest<E>, 'query'>,
): RegistryRequest<E> {
  const ns = origin.query.get('ns');
  const { rawHeaders } = origin;
  const pairs = rawHeaders.flatMap((name, at): [string, string][] =>
    at % 2 === 0 && CALLERS.has(name.toLowerCase()) ? [[name, rawHeaders[at + 1] ?? '']] : [],
  );
  const query = new URLSearchParams(ns === null ? {} : { ns });
  return {
    ...ownRequest({ ...own, query, headers: [...pairs, ...headers] }, origin.signal),
    ...(origin.caller === undefined ? {} : { caller: origin.caller }),
  };
}
