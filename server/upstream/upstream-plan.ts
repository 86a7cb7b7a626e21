import { canonicalHost } from '../../schemas/oci/host.ts';
import type { Route } from '../routing/route-table.ts';
import type { UpstreamsConfig } from './check-upstreams.ts';
import type { UpstreamConfig } from './upstream-config.ts';

/** One registry that the proxy fronts, as the configuration has it: at a URL, or embedded in the proxy. */
export interface UpstreamPlan {
  /** What the directory keeps its repositories under; empty for the embedded one. */
  readonly key: string;
  /** What people call it. */
  readonly name: string;
  readonly route: Route;
  /** undefined for the embedded one. */
  readonly config: UpstreamConfig | undefined;
}

/**
 * The registries of a configuration that was checked: those of the list, or the one of the short form, or else the
 * embedded one, which then answers for every host.
 */
export function upstreamPlans({ upstream, upstreams }: UpstreamsConfig): UpstreamPlan[] {
  if (upstream !== undefined) {
    const { namespace } = upstream;
    const hosts = namespace === undefined ? 'any' : [canonicalHost(namespace)];
    const key = namespace ?? new URL(upstream.url).host;
    return [{ key, name: key, route: { hosts, isDefault: true }, config: upstream }];
  }
  if (upstreams.length === 0) {
    return [{ key: '', name: 'embedded', route: { hosts: 'any', isDefault: true }, config: undefined }];
  }
  return upstreams.map((entry) => {
    const { name, url, prefix } = entry;
    const route: Route = {
      hosts: entry.hosts.map(canonicalHost),
      isDefault: entry.default,
      ...(prefix === undefined ? {} : { prefix }),
    };
    return url === undefined
      ? { key: '', name, route, config: undefined }
      : { key: name, name, route, config: { ...entry, url } };
  });
}
