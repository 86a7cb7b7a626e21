import type { Readable } from 'node:stream';
import { noneMatchNames } from '../distribution/range.ts';
import type { HeaderList, RegistryAnswer, RegistryRequest } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { headerValue } from '../upstream/headers.ts';
import { parseRanges } from './byte-ranges.ts';
import { multipart } from './multipart.ts';
import type { Proof } from './proofs.ts';

/** RFC 7234, section 5.5: what is served without having been asked for because the origin could not be. */
const STALE_WARNINGS: HeaderList = [
  ['Warning', '110 starlight-proxy "Response is Stale"'],
  ['Warning', '111 starlight-proxy "Revalidation Failed"'],
];

/** How a request for a content that is at hand is to be answered: at once, or with these bytes of it. */
export type KeptAnswer =
  | { readonly kind: 'done'; readonly answer: RegistryAnswer }
  /** `end` is exclusive. */
  | {
      readonly kind: 'bytes';
      readonly start: number;
      readonly end: number;
      with(body: Uint8Array | Readable): RegistryAnswer;
    }
  | {
      readonly kind: 'parts';
      /** Of the first part. */
      readonly start: number;
      with(open: (start: number, end: number) => Promise<Readable>): RegistryAnswer;
    };

/**
 * Conditions (If-None-Match, If-Range), ranges (of blobs) and HEAD, as RFC 9110 has them.
 *
 * @throws {RegistryError} 'range-unsatisfiable'
 */
export function keptAnswer(request: RegistryRequest, proof: Proof, stale: boolean): KeptAnswer {
  const { digest, sizeBytes } = proof;
  const etag = headerValue(proof.headers, 'etag') ?? `"${digest}"`;
  const common: HeaderList = [
    ['Docker-Content-Digest', digest],
    ...proof.headers.filter(([name]) => name.toLowerCase() !== 'etag'),
    ['ETag', etag],
    ...(request.endpoint.kind === 'blob' ? ([['Accept-Ranges', 'bytes']] as const) : []),
    ...(stale ? STALE_WARNINGS : []),
  ];
  if (noneMatchNames(request.headers['if-none-match'], etag)) {
    return { kind: 'done', answer: { status: 304, headers: common } };
  }
  const range = request.endpoint.kind === 'blob' ? rangeOf(request, etag, sizeBytes) : 'whole';
  if (range === 'unsatisfiable') throw new RegistryError({ kind: 'range-unsatisfiable', sizeBytes });
  const status = range === 'whole' ? 200 : 206;
  if (range !== 'whole' && range.length > 1) {
    const type = headerValue(proof.headers, 'content-type') ?? 'application/octet-stream';
    const parts = multipart(range, sizeBytes, type);
    const headers: HeaderList = [
      ['Content-Length', String(parts.sizeBytes)],
      ['Content-Type', parts.contentType],
      ...common.filter(([name]) => name.toLowerCase() !== 'content-type'),
    ];
    return {
      kind: 'parts',
      start: range[0].start,
      with: (open) => ({ status, headers, body: parts.body(open) }),
    };
  }
  const [part] = range === 'whole' ? [undefined] : range;
  const start = part?.start ?? 0;
  const end = part === undefined ? sizeBytes : part.end + 1;
  const headers: HeaderList = [
    ['Content-Length', String(end - start)],
    ...(part === undefined
      ? []
      : ([['Content-Range', `bytes ${part.start}-${part.end}/${sizeBytes}`]] as const)),
    ...common,
  ];
  if (request.method === 'HEAD') return { kind: 'done', answer: { status, headers } };
  return { kind: 'bytes', start, end, with: (body) => ({ status, headers, body }) };
}

function rangeOf(request: RegistryRequest, etag: string, sizeBytes: number) {
  const { range, 'if-range': condition } = request.headers;
  // A range is of GET alone (RFC 9110, section 14.2).
  if (request.method !== 'GET' || (condition !== undefined && condition !== etag)) return 'whole' as const;
  return parseRanges(range, sizeBytes);
}
