import { createHmac } from 'node:crypto';
import { headerPairs } from '../upstream/headers.ts';

/**
 * Who asks, as a keyed hash of what the request identifies its sender by. Equal for two requests only if the
 * upstream cannot tell their senders apart; it reveals no credential.
 */
export type CallerId = string & { readonly __brand: 'CallerId' };

/**
 * Headers that say nothing of who sends them. Every other one counts as a credential, also one that nobody has
 * thought of (registries take API keys in headers of their own): then less is shared, and never too much.
 */
const IMPERSONAL: ReadonlySet<string> = new Set([
  ...['accept', 'accept-charset', 'accept-encoding', 'accept-language', 'cache-control', 'connection'],
  ...['content-length', 'content-type', 'date', 'dnt', 'expect', 'host', 'keep-alive', 'max-forwards'],
  ...['if-match', 'if-modified-since', 'if-none-match', 'if-range', 'if-unmodified-since', 'origin'],
  ...['pragma', 'priority', 'range', 'referer', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['user-agent', 'via', 'traceparent', 'tracestate', 'baggage', 'x-request-id', 'x-meta-source-client'],
  // Of the way to us: they are not sent upstream.
  ...['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-port', 'x-forwarded-proto'],
  ...['x-real-ip', 'proxy-authorization', 'proxy-authenticate', 'proxy-connection'],
]);
const ID_BYTES = 18;

/** @param key at least 32 random bytes that only this process knows */
export function callerId(rawHeaders: readonly string[], key: Uint8Array): CallerId {
  const mac = createHmac('sha256', key);
  for (const [name, value] of headerPairs(rawHeaders)) {
    const lower = name.toLowerCase();
    if (!IMPERSONAL.has(lower)) mac.update(JSON.stringify([lower, value]));
  }
  return mac.digest().subarray(0, ID_BYTES).toString('base64url') as CallerId;
}
