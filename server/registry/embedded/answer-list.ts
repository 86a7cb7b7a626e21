import { isDigest } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import type { EndpointOf, HeaderList, RegistryAnswer, RegistryRequest } from '../registry.ts';
import { RegistryError } from '../registry-error.ts';
import { compareTags, type Manifests } from './manifests.ts';
import type { RepositoryFiles } from './repository-files.ts';

/** A page has at most this many entries, however many were asked for. */
export const MAX_TAGS_PER_PAGE = 10_000;
export const MAX_REFERRERS_PER_PAGE = 1000;

/** GET of the tags, by pages where `n` says so. */
export async function answerTags(
  manifests: Manifests,
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'tags'>>,
): Promise<RegistryAnswer> {
  const limit = pageSize(request.query.get('n'), MAX_TAGS_PER_PAGE);
  const last = request.query.get('last');
  const tags = await manifests.tags(files);
  if (tags === undefined) throw new RegistryError({ kind: 'name-unknown', name: files.name });
  const rest = last === null ? tags : tags.filter((tag) => compareTags(tag, last) > 0);
  const page = rest.slice(0, limit);
  const links = nextLink(`/v2/${files.name}/tags/list`, page.length < rest.length ? page.at(-1) : undefined, {
    n: String(limit),
  });
  return json(request, 'application/json', { name: files.name, tags: page }, links);
}

/** GET of what refers to a digest; an unknown one, in an unknown repository too, has an empty list. */
export async function answerReferrers(
  manifests: Manifests,
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'referrers'>>,
): Promise<RegistryAnswer> {
  const { digest } = request.endpoint;
  if (!isDigest(digest)) {
    throw new RegistryError({ kind: 'digest-invalid', reason: 'the path does not end in a digest' });
  }
  const artifactType = request.query.get('artifactType') || undefined;
  const limit = pageSize(request.query.get('n'), MAX_REFERRERS_PER_PAGE);
  const last = request.query.get('last') ?? '';
  const all = await manifests.referrers(files, digest);
  const rest = all.filter(
    (one) => one.digest > last && (artifactType === undefined || one.artifactType === artifactType),
  );
  const page = rest.slice(0, limit);
  const links = nextLink(
    `/v2/${files.name}/referrers/${digest}`,
    page.length < rest.length ? page.at(-1)?.digest : undefined,
    {
      n: String(limit),
      ...(artifactType === undefined ? {} : { artifactType }),
    },
  );
  const filtered: HeaderList = artifactType === undefined ? [] : [['OCI-Filters-Applied', 'artifactType']];
  return json(
    request,
    MEDIA_TYPE.ociIndex,
    { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: page },
    [...filtered, ...links],
  );
}

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

function json(request: RegistryRequest, type: string, value: unknown, headers: HeaderList): RegistryAnswer {
  const body = Buffer.from(JSON.stringify(value));
  return {
    status: 200,
    headers: [['Content-Type', type], ['Content-Length', String(body.byteLength)], ...headers],
    ...(request.method === 'HEAD' ? {} : { body }),
  };
}
