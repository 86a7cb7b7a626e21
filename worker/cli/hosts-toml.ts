/**
 * The files by which containerd is pointed at a mirror (containerd's docs/hosts.md): one `hosts.toml` in a directory
 * per host. Everything here is read by containerd 1.6 and later.
 */

/** The directory of what holds for every host that has none of its own. */
export const DEFAULT_DIRECTORY = '_default';

/**
 * How long connecting to the mirror may take before the server is asked. containerd before 2.1 passes over the key, and
 * waits for 30 seconds.
 */
const DIAL_TIMEOUT = '2s';

export interface HostsToml {
  /** Where containerd goes on when the mirror fails; undefined leaves it to the host's own name. */
  readonly server: string | undefined;
  /** The mirror: scheme, host and port. */
  readonly mirror: string;
  /** Absolute paths on the machine of containerd. */
  readonly caFile?: string;
  readonly client?: { readonly certFile: string; readonly keyFile: string };
}

/** The text of a `hosts.toml`. */
export function hostsToml({ server, mirror, caFile, client }: HostsToml): string {
  return [
    ...(server === undefined ? [] : [`server = ${tomlString(server)}`, '']),
    `[host.${tomlString(mirror)}]`,
    '  capabilities = ["pull", "resolve"]',
    `  dial_timeout = ${tomlString(DIAL_TIMEOUT)}`,
    ...(caFile === undefined ? [] : [`  ca = ${tomlString(caFile)}`]),
    ...(client === undefined
      ? []
      : [`  client = [[${tomlString(client.certFile)}, ${tomlString(client.keyFile)}]]`]),
    '',
  ].join('\n');
}

/**
 * The directories in which containerd looks for the file of a host, in its order: the first that exists counts. The
 * form for file systems without colons comes first (`hostPaths` of containerd's remotes/docker/config).
 */
export function hostDirectories(host: string): readonly [string, ...string[]] {
  const colon = host.lastIndexOf(':');
  return colon > 0 ? [`${host.slice(0, colon)}_${host.slice(colon + 1)}_`, host] : [host];
}

/** A basic string of TOML 1.0, with whatever it may not hold escaped. */
export function tomlString(text: string): string {
  const escaped = text.replaceAll(/["\\\p{Cc}]/gu, (char) =>
    char === '"' || char === '\\' ? `\\${char}` : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `"${escaped}"`;
}
