import { canonicalHost } from '../../schemas/oci/host.ts';
import { type Namespace, serverOf, type UpstreamList } from '../../schemas/upstreams/upstream-list.ts';
import type { UpstreamPlan } from './upstream-plan.ts';

/** The registries of a configuration as clients may know them: no credentials, no files, no URL behind a host. */
export function upstreamList(plans: readonly UpstreamPlan[]): UpstreamList {
  return {
    upstreams: plans.map(({ name, route, config }) => {
      const { hosts, prefix, isDefault } = route;
      const url = config === undefined ? undefined : new URL(config.url);
      const known = hosts === 'any' ? (url === undefined ? [] : [canonicalHost(url.host)]) : hosts;
      return {
        name,
        ...(prefix === undefined ? {} : { prefix }),
        default: isDefault,
        anyHost: hosts === 'any',
        namespaces: known.map((host) => namespaceOf(host, url)),
      };
    }),
  };
}

/** Only an upstream that is at the host itself tells how it is reached there: by plain HTTP perhaps. */
function namespaceOf(host: string, url: URL | undefined): Namespace {
  const isHome = url !== undefined && host !== 'docker.io' && url.host === host;
  return { host, server: isHome ? url.origin : serverOf(host) };
}
