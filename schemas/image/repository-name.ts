import type { Reference } from '../oci/reference.ts';

/** The repository as its registry knows it: docker.io keeps names of one component under `library/`. */
export function repositoryName(reference: Reference): string {
  return reference.host === 'docker.io' && !reference.name.includes('/')
    ? `library/${reference.name}`
    : reference.name;
}
