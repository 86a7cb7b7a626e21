import { canonicalHost, HOST_PATTERN } from '../../schemas/oci/host.ts';
import { isOwnServer, serverOf, type UpstreamList } from '../../schemas/upstreams/upstream-list.ts';
import { CliError } from './cli-error.ts';
import { DEFAULT_DIRECTORY } from './hosts-toml.ts';

/** One `hosts.toml` that is to be. */
export interface WantedMirror {
  /** Canonical, and fit to be the name of a directory; `_default` for all others. */
  readonly host: string;
  readonly server: string | undefined;
}

export interface MirrorChoice {
  /** As given; none for all that the proxy serves by name. */
  readonly hosts: readonly string[];
  /** `_default` as well. */
  readonly withDefault: boolean;
}

const HOST = new RegExp(HOST_PATTERN);

/**
 * What of the proxy's upstreams is wanted, each host once. The list was checked against its schema.
 * @throws {CliError} where a host is not served, where none is, or where the proxy sends a host elsewhere.
 */
export function wantedMirrors(
  { upstreams }: UpstreamList,
  { hosts, withDefault }: MirrorChoice,
): WantedMirror[] {
  const served = new Map<string, WantedMirror>();
  for (const namespace of upstreams.flatMap(({ namespaces }) => namespaces)) {
    const { host, server } = namespace;
    if (!isOwnServer(namespace)) {
      throw new CliError(
        'proxy-failed',
        `the proxy names ${server} as the registry of ${host}, which it is not`,
      );
    }
    const canonical = canonicalHost(host);
    if (!served.has(canonical)) served.set(canonical, { host: canonical, server });
  }
  const anyHost = upstreams.some((upstream) => upstream.anyHost);
  const named = hosts.map((text): WantedMirror => {
    if (!HOST.test(text)) {
      throw new CliError('invalid-host', `${JSON.stringify(text)} is no registry's host`, {
        hint: 'name it as references do, without a scheme or a path: docker.io, registry.example:5000',
      });
    }
    const host = canonicalHost(text);
    const known = served.get(host) ?? (anyHost ? { host, server: serverOf(host) } : undefined);
    if (known !== undefined) return known;
    throw new CliError('not-served', `the proxy does not serve ${text}`, {
      hint: served.size === 0 ? NO_HOSTS : `it serves ${[...served.keys()].join(', ')}`,
    });
  });
  const all =
    hosts.length === 0 ? [...served.values()] : [...new Map(named.map((m) => [m.host, m])).values()];
  if (all.length === 0 && !withDefault) {
    const hint = anyHost
      ? 'it answers for every host: name those that it is to be the mirror of, or give --default'
      : NO_HOSTS;
    throw new CliError('no-hosts', 'the proxy stands for no host by name', { hint });
  }
  return withDefault ? [...all, { host: DEFAULT_DIRECTORY, server: undefined }] : all;
}

const NO_HOSTS = "it serves none by name: give its upstreams hosts in the proxy's configuration";
