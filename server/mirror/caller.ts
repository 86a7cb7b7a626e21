import { createHmac } from 'node:crypto';
import { headerPairs, isImpersonal } from '../upstream/headers.ts';

/**
 * Who asks, as a keyed hash of what the request identifies its sender by. Equal for two requests only if the
 * upstream cannot tell their senders apart; it reveals no credential.
 */
export type CallerId = string & { readonly __brand: 'CallerId' };

const ID_BYTES = 18;

/** @param key at least 32 random bytes that only this process knows */
export function callerId(rawHeaders: readonly string[], key: Uint8Array): CallerId {
  const mac = createHmac('sha256', key);
  for (const [name, value] of headerPairs(rawHeaders)) {
    if (!isImpersonal(name)) mac.update(JSON.stringify([name.toLowerCase(), value]));
  }
  return mac.digest().subarray(0, ID_BYTES).toString('base64url') as CallerId;
}
