import type { RegistryReader } from './registry-reader.ts';
import { StarlightError } from './starlight-error.ts';

/** A repository of a registry that the proxy fronts: only those are ever read, whatever a request asks for. */
export interface FrontedRepository {
  /** The key under which the directory keeps the registry's repositories; empty for the embedded one. */
  readonly registry: string;
  /** What that registry calls the repository. */
  readonly name: string;
  readonly reader: RegistryReader;
}

/**
 * The repository that a client means by a registry's host (`ns`) and a name, as in the distribution API: without a
 * host the name may begin with the prefix of a registry. undefined where no registry is meant that is fronted.
 * `host` is what the client calls the proxy itself: asking for that registry is asking for none.
 */
export type RepositoryChoice = (
  namespace: string | undefined,
  name: string,
  host: string | undefined,
) => FrontedRepository | undefined;

/** What to say of a name that leads to no registry that is fronted. */
export function notFronted(namespace: string | undefined, name: string): StarlightError {
  return new StarlightError(
    namespace === undefined ? { kind: 'name-unknown', name } : { kind: 'namespace-unknown', namespace },
  );
}
