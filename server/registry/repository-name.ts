import { isRepositoryName } from '../../schemas/oci/reference.ts';

/**
 * A repository's name that matches the grammar of the distribution-spec. The grammar allows no "..", no empty
 * component and none that begins with "_" or ".": so it is safe as a path, and files named `_…` beside it
 * never collide with another repository.
 */
export type RepositoryName = string & { readonly __brand: 'RepositoryName' };

/** undefined where `text` is no name of a repository. */
export function repositoryName(text: string): RepositoryName | undefined {
  return isRepositoryName(text) ? (text as RepositoryName) : undefined; // checked by the same line
}
