import type { IncomingMessage } from 'node:http';
import { LimitError } from './limit-error.ts';

/** Headers of one request. No client of registries sends a third of it. */
const MAX_HEADERS = 128;
/** What a request may say once (RFC 9110, section 5.3). Node takes the first; an upstream may take the last. */
const SINGLE: ReadonlySet<string> = new Set([
  'authorization',
  'content-length',
  'content-range',
  'content-type',
  'host',
  'if-range',
  'range',
  'starlight-token',
]);

/** @throws {LimitError} where a request is of a shape that nothing honest has. */
export function checkShape(request: IncomingMessage, maxTargetBytes: number): void {
  const { rawHeaders, url = '' } = request;
  if (url.length > maxTargetBytes)
    throw new LimitError({ kind: 'target-too-long', limitBytes: maxTargetBytes });
  if (rawHeaders.length > 2 * MAX_HEADERS) {
    throw new LimitError({ kind: 'headers-too-many', limit: MAX_HEADERS });
  }
  const seen = new Set<string>();
  for (let place = 0; place < rawHeaders.length; place += 2) {
    const name = rawHeaders[place]?.toLowerCase() ?? '';
    if (!SINGLE.has(name)) continue;
    if (seen.has(name)) throw new LimitError({ kind: 'header-repeated', name });
    seen.add(name);
  }
}
