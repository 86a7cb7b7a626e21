import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type Digest, isDigest } from '../../schemas/oci/digest.ts';
import { isTag } from '../../schemas/oci/reference.ts';
import type { Endpoint, RegistryRequest } from '../registry/registry.ts';
import type { RepositoryName } from '../registry/repository-name.ts';
import { headerPairs } from '../upstream/headers.ts';
import { type CallerId, callerId } from './caller.ts';

/** A request to read something that can be kept: a blob, or a manifest by digest or tag. */
export interface Question {
  readonly kind: 'blob' | 'manifest';
  readonly name: RepositoryName;
  /** As it stands in the path. */
  readonly reference: string;
  /** undefined for a tag. */
  readonly digest: Digest | undefined;
  /** What is asked for, by whomever. */
  readonly resource: string;
  /** Who asks; for a tag, also what representations are wanted, since the answer may depend on it. */
  readonly asker: string;
}

/** Headers of the client that ask for a part, a condition or a coding; what is fetched for many has none. */
const OF_ONE_ANSWER = new Set([
  ...['range', 'if-range', 'if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since'],
  ...['accept-encoding', 'content-length', 'transfer-encoding', 'expect'],
]);

/** undefined where the request is not one of these, or has parameters that might change the answer. */
export function questionOf(request: RegistryRequest, key: Uint8Array): Question | undefined {
  const { endpoint, method, query, rawHeaders } = request;
  if (method !== 'GET' && method !== 'HEAD') return undefined;
  if ([...query.keys()].some((name) => name !== 'ns')) return undefined;
  const caller = callerId(rawHeaders, key);
  if (endpoint.kind === 'blob') {
    const { name, digest } = endpoint;
    return isDigest(digest) ? byDigest('blob', name, digest, caller) : undefined;
  }
  if (endpoint.kind !== 'manifest') return undefined;
  const { name, reference } = endpoint;
  if (isDigest(reference)) return byDigest('manifest', name, reference, caller);
  if (!isTag(reference)) return undefined;
  const resource = resourceOf('manifest', name, reference);
  const asker = JSON.stringify([caller, acceptedOf(rawHeaders)]);
  return { kind: 'manifest', name, reference, digest: undefined, resource, asker };
}

/** What representations are wanted, in few bytes however long the headers are: it is remembered. */
function acceptedOf(rawHeaders: readonly string[]): string {
  const accept = headerPairs(rawHeaders).filter(([header]) => header.toLowerCase() === 'accept');
  const values = JSON.stringify(accept.map(([, value]) => value));
  return createHash('sha256').update(values).digest('base64url');
}

/** The same question for the digest that a tag stands for. */
export function ofDigest(question: Question, digest: Digest): Question {
  if (question.digest !== undefined) return question;
  const [caller] = JSON.parse(question.asker) as [CallerId]; // made above
  return byDigest('manifest', question.name, digest, caller);
}

function byDigest(
  kind: 'blob' | 'manifest',
  name: RepositoryName,
  digest: Digest,
  caller: CallerId,
): Question {
  const resource = resourceOf(kind, name, digest);
  return { kind, name, reference: digest, digest, resource, asker: JSON.stringify([caller]) };
}

export function resourceOf(kind: 'blob' | 'manifest', name: RepositoryName, reference: string): string {
  return `${name}\n${kind}\n${reference}`;
}

/** The request that the upstream is sent for `question`, as whoever sent `request`. */
export function upstreamRequest(
  request: RegistryRequest,
  question: Question,
  method: 'GET' | 'HEAD',
  range: string | undefined,
  signal: AbortSignal,
): RegistryRequest {
  const { kind, name, reference } = question;
  const endpoint: Endpoint = kind === 'blob' ? { kind, name, digest: reference } : { kind, name, reference };
  const kept = headerPairs(request.rawHeaders).filter(([header]) => !OF_ONE_ANSWER.has(header.toLowerCase()));
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([header]) => !OF_ONE_ANSWER.has(header)),
  );
  return {
    ...request,
    endpoint,
    method,
    headers: range === undefined ? headers : { ...headers, range },
    rawHeaders: [...kept, ...(range === undefined ? [] : [['Range', range] as const])].flat(),
    body: Readable.from([]),
    signal,
  };
}
