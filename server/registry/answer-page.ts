import { type Digest, isDigest } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import type { Descriptor } from '../../schemas/oci/types.ts';
import type { EndpointOf, HeaderList, RegistryAnswer, RegistryRequest } from './registry.ts';
import { RegistryError } from './registry-error.ts';

/** A page has at most this many tags, however many were asked for. */
export const MAX_TAGS_PER_PAGE = 10_000;
/** A page of referrers has at most this many, however many were asked for. */
export const MAX_REFERRERS_PER_PAGE = 1000;

/** The digest whose referrers are asked for. @throws {RegistryError} 'digest-invalid' */
export function referrersSubject({ endpoint }: RegistryRequest<EndpointOf<'referrers'>>): Digest {
  if (!isDigest(endpoint.digest)) {
    throw new RegistryError({ kind: 'digest-invalid', reason: 'the path does not end in a digest' });
  }
  return endpoint.digest;
}

/**
 * The page of `all` that was asked for, by digest, as an image index: those of one `artifactType` where the
 * request says so, which the answer then tells (distribution-spec, "Listing Referrers").
 *
 * @throws {RegistryError} 'parameter-invalid'
 */
export function referrersPage(
  request: RegistryRequest<EndpointOf<'referrers'>>,
  all: readonly Descriptor[],
): RegistryAnswer {
  const { endpoint, query } = request;
  const artifactType = query.get('artifactType') || undefined;
  const limit = pageSize(query.get('n'), MAX_REFERRERS_PER_PAGE);
  const last = query.get('last') ?? '';
  const rest = all
    .filter((one) => one.digest > last && (artifactType === undefined || one.artifactType === artifactType))
    .sort((a, b) => (a.digest < b.digest ? -1 : 1));
  const page = rest.slice(0, limit);
  const links = nextLink(
    `/v2/${endpoint.name}/referrers/${endpoint.digest}`,
    page.length < rest.length ? page.at(-1)?.digest : undefined,
    { n: String(limit), ...(artifactType === undefined ? {} : { artifactType }) },
  );
  const filtered: HeaderList = artifactType === undefined ? [] : [['OCI-Filters-Applied', 'artifactType']];
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: page };
  return jsonAnswer(request, MEDIA_TYPE.ociIndex, index, [...filtered, ...links]);
}

/**
 * The page of `tags`, all that there are, that was asked for.
 *
 * @throws {RegistryError} 'parameter-invalid'
 */
export function tagsPage(
  request: RegistryRequest<EndpointOf<'tags'>>,
  tags: readonly string[],
): RegistryAnswer {
  const { endpoint, query } = request;
  const limit = pageSize(query.get('n'), MAX_TAGS_PER_PAGE);
  const last = query.get('last');
  const rest = tags.filter((tag) => last === null || compareTags(tag, last) > 0).sort(compareTags);
  const page = rest.slice(0, limit);
  const after = page.length < rest.length ? page.at(-1) : undefined;
  const links = nextLink(`/v2/${endpoint.name}/tags/list`, after, { n: String(limit) });
  return jsonAnswer(request, 'application/json', { name: endpoint.name, tags: page }, links);
}

/** distribution-spec, "Listing tags": lexical, that is case-insensitive alphanumeric, order. */
export function compareTags(a: string, b: string): number {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()];
  if (x !== y) return x < y ? -1 : 1;
  return a < b ? -1 : a === b ? 0 : 1;
}

/** How many entries a page is to have: the parameter `n`, or `limit`. @throws {RegistryError} 'parameter-invalid' */
function pageSize(text: string | null, limit: number): number {
  if (text === null) return limit;
  if (!/^\d{1,9}$/.test(text)) {
    throw new RegistryError({
      kind: 'parameter-invalid',
      reason: 'the parameter "n" must be a whole number',
    });
  }
  return Math.min(Number(text), limit);
}

/** RFC 5988, as the distribution-spec has it: where the next page is, if there is one. */
function nextLink(
  path: string,
  last: string | undefined,
  parameters: Readonly<Record<string, string>>,
): HeaderList {
  if (last === undefined) return [];
  return [['Link', `<${path}?${new URLSearchParams({ ...parameters, last })}>; rel="next"`]];
}

function jsonAnswer(
  request: RegistryRequest,
  type: string,
  value: unknown,
  headers: HeaderList,
): RegistryAnswer {
  const body = Buffer.from(JSON.stringify(value));
  return {
    status: 200,
    headers: [['Content-Type', type], ['Content-Length', String(body.byteLength)], ...headers],
    ...(request.method === 'HEAD' ? {} : { body }),
  };
}
