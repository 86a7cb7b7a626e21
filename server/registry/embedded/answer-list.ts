import { referrersPage, referrersSubject, tagsPage } from '../answer-page.ts';
import type { EndpointOf, RegistryAnswer, RegistryRequest } from '../registry.ts';
import { RegistryError } from '../registry-error.ts';
import type { Manifests } from './manifests.ts';
import type { RepositoryFiles } from './repository-files.ts';

/** GET of the tags, by pages where `n` says so. */
export async function answerTags(
  manifests: Manifests,
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'tags'>>,
): Promise<RegistryAnswer> {
  const tags = await manifests.tags(files);
  if (tags === undefined) throw new RegistryError({ kind: 'name-unknown', name: files.name });
  return tagsPage(request, tags);
}

/** GET of what refers to a digest; an unknown one, in an unknown repository too, has an empty list. */
export async function answerReferrers(
  manifests: Manifests,
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'referrers'>>,
): Promise<RegistryAnswer> {
  return referrersPage(request, await manifests.referrers(files, referrersSubject(request)));
}
