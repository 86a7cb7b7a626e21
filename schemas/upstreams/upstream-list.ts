import { type Static, Type } from '@sinclair/typebox';
import { canonicalHost, HOST_PATTERN, registryHost } from '../oci/host.ts';

/** More are not listed by any configuration. */
const MAX_UPSTREAMS = 256;
const MAX_NAMESPACES = 64;
/** Longer than any name or prefix that a configuration may hold. */
const MAX_NAME_CHARS = 512;

/** A host that clients name a registry by, and where that registry itself answers when the proxy does not. */
export const NamespaceSchema = Type.Object({
  /** Canonical: `docker.io`, `registry.example:5000`. */
  host: Type.String({ maxLength: 300, pattern: HOST_PATTERN }),
  /** `https://registry.example:5000`, without a path: an origin of that very host. */
  server: Type.String({ maxLength: 310, pattern: `^https?://${HOST_PATTERN.slice(1)}` }),
});
export type Namespace = Static<typeof NamespaceSchema>;

/** One registry that the proxy fronts. */
export const UpstreamViewSchema = Type.Object({
  name: Type.String({ maxLength: MAX_NAME_CHARS }),
  /** Names of the proxy's below this path are its own. */
  prefix: Type.Optional(Type.String({ maxLength: MAX_NAME_CHARS })),
  /** It is asked where nothing else says which. */
  default: Type.Boolean(),
  /** It answers for every host that no other upstream has. */
  anyHost: Type.Boolean(),
  namespaces: Type.Array(NamespaceSchema, { maxItems: MAX_NAMESPACES }),
});
export type UpstreamView = Static<typeof UpstreamViewSchema>;

/** The body of `GET /starlight/upstreams`. */
export const UpstreamListSchema = Type.Object({
  upstreams: Type.Array(UpstreamViewSchema, { maxItems: MAX_UPSTREAMS }),
});
export type UpstreamList = Static<typeof UpstreamListSchema>;

/** Where the registry of a host answers as far as its name tells. */
export function serverOf(host: string): string {
  return `https://${registryHost(host)}`;
}

/** True where a namespace's server is its host's own: another one would be believed instead of it. */
export function isOwnServer({ host, server }: Namespace): boolean {
  return canonicalHost(server.replace(/^https?:\/\//, '')) === canonicalHost(host);
}
