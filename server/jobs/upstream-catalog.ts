import { MAX_NAMES } from '../../extensions/starlight/jobs/job-registry.ts';
import { IMAGE_LIMIT } from '../../schemas/image/limits.ts';
import { readAll } from '../../schemas/image/verify-stream.ts';
import { isRepositoryName } from '../../schemas/oci/reference.ts';
import type { HeaderList } from '../registry/registry.ts';
import { nextLink } from '../upstream/headers.ts';
import { discard, type UpstreamRequest, type UpstreamResponse } from '../upstream/upstream-client.ts';
import { namesIn } from './names.ts';
import type { OwnAuthorization } from './own-credentials.ts';

const PAGE = 1_000;

/**
 * All repositories of an upstream, by `/v2/_catalog`: Docker's, no part of the distribution-spec. undefined where the
 * upstream has none or does not show it to us.
 */
export async function upstreamCatalog(
  base: URL,
  send: (request: UpstreamRequest) => Promise<UpstreamResponse>,
  own: OwnAuthorization,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const found: string[] = [];
  const authorization = await own(signal);
  const headers: HeaderList = authorization === undefined ? [] : [['Authorization', authorization]];
  let url: URL | null = new URL(`/v2/_catalog?n=${PAGE}`, base);
  while (url !== null && found.length < MAX_NAMES) {
    const response: UpstreamResponse = await send({ method: 'GET', url, headers, signal });
    if (response.status !== 200) {
      await discard(response);
      return undefined;
    }
    const bytes = await readAll(response.body, IMAGE_LIMIT.manifestBytes, 'a catalog');
    const page = namesIn(bytes, 'repositories');
    found.push(...page.filter(isRepositoryName));
    const next = nextLink(response.headers);
    const following: URL | null = next === undefined || page.length === 0 ? null : URL.parse(next, url);
    url = following?.origin === base.origin ? following : null;
  }
  return found.slice(0, MAX_NAMES);
}
