/** A host, with or without a port, as clients name a registry: `docker.io`, `registry.example:5000`, `[::1]:5000`. */
export const HOST_PATTERN =
  '^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253})|\\[[0-9a-fA-F:]{2,45}\\])(?::\\d{1,5})?$';

/** The names of the Docker Hub beside `docker.io`, which stands for all of them. */
const DOCKER_HUB: ReadonlySet<string> = new Set(['index.docker.io', 'registry-1.docker.io']);

/** A registry's host so that it can be compared: lower case, one name for the Docker Hub. */
export function canonicalHost(host: string): string {
  const lower = host.toLowerCase();
  return DOCKER_HUB.has(lower) ? 'docker.io' : lower;
}

/** Where the registry of a host answers: `docker.io` is a name only (docker's and containerd's own rule). */
export function registryHost(host: string): string {
  return canonicalHost(host) === 'docker.io' ? 'registry-1.docker.io' : host;
}

/** True of a host, with or without a port, that is this machine by its name or address. */
export function isLoopback(host: string): boolean {
  return /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::\d+)?$/.test(host);
}
