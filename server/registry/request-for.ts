import { Readable } from 'node:stream';
import type { Endpoint, HeaderList, RegistryMethod, RegistryRequest } from './registry.ts';

/** What of the caller's headers goes with a request of ours: who they are, and what they are. */
const CALLERS: ReadonlySet<string> = new Set(['authorization', 'cookie', 'user-agent']);

export interface OwnRequest<E extends Endpoint> {
  readonly endpoint: E;
  readonly method: RegistryMethod;
  readonly headers?: HeaderList;
  readonly body?: Uint8Array;
}

/** A request of our own on behalf of whoever sent `origin`: with their credentials, within their namespace. */
export function requestFor<E extends Endpoint>(
  origin: RegistryRequest,
  { endpoint, method, headers = [], body }: OwnRequest<E>,
): RegistryRequest<E> {
  const ns = origin.query.get('ns');
  const query = new URLSearchParams(ns === null ? {} : { ns });
  const { rawHeaders } = origin;
  const pairs = rawHeaders.flatMap((name, at): [string, string][] =>
    at % 2 === 0 && CALLERS.has(name.toLowerCase()) ? [[name, rawHeaders[at + 1] ?? '']] : [],
  );
  const all: HeaderList = [
    ...pairs,
    ...headers,
    ...(body === undefined ? [] : ([['Content-Length', String(body.byteLength)]] as const)),
  ];
  return {
    endpoint,
    method,
    query,
    rawQuery: query.toString(),
    headers: Object.fromEntries(all.map(([name, value]) => [name.toLowerCase(), value])),
    rawHeaders: all.flat(),
    body: Readable.from(body === undefined ? [] : [body], { objectMode: false }),
    signal: origin.signal,
    ...(origin.caller === undefined ? {} : { caller: origin.caller }),
  };
}
