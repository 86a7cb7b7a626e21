import { canonicalHost } from '../../schemas/oci/host.ts';
import { type RepositoryName, repositoryName } from '../registry/repository-name.ts';

/** By what requests are led to one of several registries. */
export interface Route {
  /** The hosts that clients know it by, canonical, its main one first; 'any' for all that no other route has. */
  readonly hosts: readonly string[] | 'any';
  /** Names below this path are its own, without the slash at the end. */
  readonly prefix?: string;
  /** It is asked where nothing else says which. */
  readonly isDefault: boolean;
}

/** Where a request leads. */
export interface Choice<T> {
  readonly target: T;
  /** What that registry calls the repository. */
  readonly name: RepositoryName;
  /** What was taken from the beginning of the client's name, the slash included. */
  readonly prefix: string;
}

/** Chooses one of several registries: by the host asked for (`?ns=`), else by the name's prefix, else the default. */
export class RouteTable<T extends { readonly route: Route }> {
  readonly targets: readonly T[];
  readonly #ownHosts: ReadonlySet<string>;

  /** `ownHosts` are the proxy's own: asking for one of them is asking for none. */
  constructor(targets: readonly T[], ownHosts: readonly string[] = []) {
    this.targets = targets;
    this.#ownHosts = new Set(ownHosts.map(canonicalHost));
  }

  /** The host that a client asks for (`?ns=`), undefined where it means the proxy itself, which `Host` names as well. */
  namespace(asked: string | null | undefined, hostHeader: string | undefined): string | undefined {
    if (asked === null || asked === undefined) return undefined;
    const host = canonicalHost(asked);
    return this.#ownHosts.has(host) || host === hostHeader?.toLowerCase() ? undefined : asked;
  }

  /** Who answers for a host (`?ns=`), or where no host is named, by default. */
  target(namespace: string | undefined): T | undefined {
    if (namespace === undefined) return this.targets.find(({ route }) => route.isDefault);
    const host = canonicalHost(namespace);
    return (
      this.targets.find(({ route }) => route.hosts !== 'any' && route.hosts.includes(host)) ??
      this.targets.find(({ route }) => route.hosts === 'any')
    );
  }

  /** Where a repository is, by the name that the client has for it. Of two prefixes that fit, the longer one is meant. */
  choose(namespace: string | undefined, name: RepositoryName): Choice<T> | undefined {
    if (namespace === undefined) {
      const longest = this.targets
        .filter(({ route }) => route.prefix !== undefined && name.startsWith(`${route.prefix}/`))
        .sort((a, b) => (b.route.prefix?.length ?? 0) - (a.route.prefix?.length ?? 0))[0];
      if (longest !== undefined) {
        const prefix = `${longest.route.prefix}/`;
        const rest = repositoryName(name.slice(prefix.length));
        return rest === undefined ? undefined : { target: longest, name: rest, prefix };
      }
    }
    const target = this.target(namespace);
    return target === undefined ? undefined : { target, name, prefix: '' };
  }
}
