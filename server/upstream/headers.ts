import type { HeaderList } from '../registry/registry.ts';

/** Headers that belong to one connection and never go through a proxy (RFC 9110, section 7.6.1). */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Of a request besides: the host is the upstream's, and `100 Continue` was answered here already. */
const NOT_SENT: ReadonlySet<string> = new Set([
  'host',
  'expect',
  // An upstream that believed these would write our own address into its Location headers.
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-real-ip',
  // What opens the proxy's own doors.
  'starlight-token',
]);

/**
 * Headers that say nothing of who sends them. Every other one counts as a credential, also one that nobody has
 * thought of (registries take API keys in headers of their own): what is kept is shared with fewer, and what goes to
 * another host says less, never too much.
 */
const IMPERSONAL: ReadonlySet<string> = new Set([
  ...['accept', 'accept-charset', 'accept-encoding', 'accept-language', 'cache-control', 'connection'],
  ...['content-encoding', 'content-length', 'content-range', 'content-type', 'date', 'dnt', 'expect', 'host'],
  ...['keep-alive', 'max-forwards', 'origin', 'pragma', 'priority', 'range', 'referer', 'te', 'trailer'],
  ...[
    'if-match',
    'if-modified-since',
    'if-none-match',
    'if-range',
    'if-unmodified-since',
    'transfer-encoding',
  ],
  ...['upgrade', 'user-agent', 'via', 'traceparent', 'tracestate', 'baggage', 'x-request-id'],
  'x-meta-source-client',
  // Of the way to us: they are not sent upstream.
  ...['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-port', 'x-forwarded-proto'],
  ...['x-real-ip', 'proxy-connection'],
]);

/** Pairs of a flat list of names and values, as Node and undici hand raw headers out. */
export function headerPairs(raw: readonly string[]): HeaderList {
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) pairs.push([raw[at] ?? '', raw[at + 1] ?? '']);
  return pairs;
}

/** Where the next page of a list is (RFC 8288); undefined on the last one. */
export function nextLink(headers: HeaderList): string | undefined {
  return /<([^>]*)>\s*;\s*rel="?next"?/.exec(headerValue(headers, 'link') ?? '')?.[1];
}

/** The first value of a header, whatever the case of its name. */
export function headerValue(headers: HeaderList, name: string): string | undefined {
  return headers.find(([key]) => key.toLowerCase() === name)?.[1];
}

export function headerValues(headers: HeaderList, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

/** What of a client's headers goes upstream: the rest as it came, order and case kept. */
export function requestHeaders(raw: readonly string[], hasBody: boolean): HeaderList {
  return endToEnd(headerPairs(raw)).filter(([name]) => {
    const lower = name.toLowerCase();
    return !NOT_SENT.has(lower) && (hasBody || lower !== 'content-length');
  });
}

/** What of an upstream's headers goes to the client. */
export function responseHeaders(headers: HeaderList): HeaderList {
  return endToEnd(headers);
}

/** True of a header that cannot be a credential, whatever the case of its name. */
export function isImpersonal(name: string): boolean {
  return IMPERSONAL.has(name.toLowerCase());
}

/** What goes to others than the host that a request was meant for, across a redirect for example. */
export function withoutCredentials(headers: HeaderList): HeaderList {
  return headers.filter(([name]) => isImpersonal(name));
}

/** Without the headers of the connection, those included that its Connection header names. */
function endToEnd(headers: HeaderList): HeaderList {
  const named = headerValues(headers, 'connection').flatMap((value) =>
    value.split(',').map((part) => part.trim().toLowerCase()),
  );
  return headers.filter(([name]) => {
    const lower = name.toLowerCase();
    return !HOP_BY_HOP.has(lower) && !named.includes(lower);
  });
}
