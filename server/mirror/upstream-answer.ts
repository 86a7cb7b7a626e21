import { Readable } from 'node:stream';
import { isDigest } from '../../schemas/oci/digest.ts';
import { errorAnswer } from '../errors.ts';
import type { RegistryAnswer } from '../registry/registry.ts';
import { headerValue } from '../upstream/headers.ts';
import { MirrorError } from './mirror-error.ts';
import type { Proof } from './proofs.ts';
import type { Question } from './question.ts';

/** Headers that describe a content; others are of one answer, or of one caller. */
const KEPT: ReadonlySet<string> = new Set([
  'cache-control',
  'content-type',
  'docker-distribution-api-version',
  'etag',
  'last-modified',
]);

/** True where the upstream may do better later: what is known may be served meanwhile. */
export function isUnavailable(status: number): boolean {
  return status === 429 || status >= 500;
}

/** What a 200 proves; undefined where it lacks something, or names another digest than was asked for. */
export function proofOf(answer: RegistryAnswer, question: Question, atMs: number): Proof | undefined {
  const { status, headers } = answer;
  const told = headerValue(headers, 'docker-content-digest');
  const digest = question.digest ?? told;
  const length = headerValue(headers, 'content-length');
  const sizeBytes = Number(length);
  if (status !== 200 || length === undefined || !Number.isSafeInteger(sizeBytes)) return undefined;
  if (!isDigest(digest) || (told !== undefined && told !== digest)) return undefined;
  if (headerValue(headers, 'content-encoding') !== undefined) return undefined;
  return { digest, sizeBytes, headers: headers.filter(([name]) => KEPT.has(name.toLowerCase())), atMs };
}

/**
 * The body of the answer to a request for bytes `start` up to and excluding `end` of `sizeBytes`.
 *
 * @throws {MirrorError} where it is not that
 */
export function rangeBody(
  answer: RegistryAnswer,
  start: number,
  end: number,
  sizeBytes: number,
): AsyncIterable<Uint8Array> {
  const { status, headers, body } = answer;
  const length = headerValue(headers, 'content-length');
  const bytes: AsyncIterable<Uint8Array> =
    body instanceof Readable ? body : Readable.from(body === undefined ? [] : [body]);
  if (headerValue(headers, 'content-encoding') === undefined) {
    const range = headerValue(headers, 'content-range') ?? '';
    if (status === 206 && range.startsWith(`bytes ${start}-${end - 1}/`)) return bytes;
    // Without ranges, as RFC 9110 allows: what comes before is read for nothing.
    if (status === 200 && Number(length ?? sizeBytes) === sizeBytes) {
      return start === 0 ? bytes : skipped(bytes, start);
    }
  }
  if (body instanceof Readable) body.destroy();
  if (status === 401 || status === 403 || status === 404) throw new MirrorError({ kind: 'refused', status });
  if (isUnavailable(status)) {
    const retryAfter = headerValue(headers, 'retry-after');
    throw new MirrorError({
      kind: 'unavailable',
      status,
      ...(retryAfter === undefined ? {} : { retryAfter }),
    });
  }
  throw new MirrorError({ kind: 'protocol', reason: `${status} to a request for a range` });
}

async function* skipped(bytes: AsyncIterable<Uint8Array>, count: number): AsyncGenerator<Uint8Array> {
  let left = count;
  for await (const chunk of bytes) {
    const skip = Math.min(left, chunk.byteLength);
    left -= skip;
    if (skip < chunk.byteLength) yield chunk.subarray(skip);
  }
}

/** The answer to GET where the upstream gave `status` to HEAD, which has no body to pass on. */
export function unavailableAnswer(status: number, retryAfter: string | undefined): RegistryAnswer {
  return errorAnswer({
    status,
    code: status === 429 ? 'TOOMANYREQUESTS' : 'UNAVAILABLE',
    message: `the upstream registry answered ${status}`,
    headers: retryAfter === undefined ? [] : [['Retry-After', retryAfter]],
  });
}
