import type { Endpoint, EndpointKind, RegistryMethod } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { type RepositoryName, repositoryName } from '../registry/repository-name.ts';

/** What each endpoint can be asked. */
export const ENDPOINT_METHODS: Readonly<Record<EndpointKind, readonly RegistryMethod[]>> = {
  base: ['GET', 'HEAD'],
  blob: ['GET', 'HEAD', 'DELETE'],
  manifest: ['GET', 'HEAD', 'PUT', 'DELETE'],
  uploads: ['POST'],
  upload: ['GET', 'PATCH', 'PUT', 'DELETE'],
  tags: ['GET', 'HEAD'],
  referrers: ['GET', 'HEAD'],
};

/**
 * The endpoint of a path as it stood in the request line, still percent-encoded. A repository may itself be
 * called `a/blobs/uploads`: hence the patterns are read from the end.
 *
 * @returns undefined where the path is none of the distribution API's.
 * @throws {RegistryError} 'name-invalid' where only the repository's name is wrong.
 */
export function parseEndpoint(path: string): Endpoint | undefined {
  let text: string;
  try {
    text = decodeURIComponent(path);
  } catch {
    return undefined;
  }
  if (text === '/v2/' || text === '/v2') return { kind: 'base' };
  const match = /^\/v2\/(.+)\/(blobs\/uploads|blobs|manifests|tags|referrers)\/([^/]*)$/s.exec(text);
  if (match === null) return undefined;
  const [, before = '', noun = '', last = ''] = match;
  // URL parsers, ours or an upstream's, climb at such a segment, percent-encoded or not.
  if (last === '.' || last === '..') return undefined;
  switch (noun) {
    case 'blobs/uploads':
      return last === ''
        ? { kind: 'uploads', name: nameOf(before) }
        : { kind: 'upload', name: nameOf(before), session: last };
    case 'blobs':
      return last === ''
        ? undefined
        : last === 'uploads'
          ? { kind: 'uploads', name: nameOf(before) }
          : { kind: 'blob', name: nameOf(before), digest: last };
    case 'manifests':
      return last === '' ? undefined : { kind: 'manifest', name: nameOf(before), reference: last };
    case 'referrers':
      return last === '' ? undefined : { kind: 'referrers', name: nameOf(before), digest: last };
    case 'tags':
      return last === 'list' ? { kind: 'tags', name: nameOf(before) } : undefined;
    default:
      return undefined;
  }
}

function nameOf(text: string): RepositoryName {
  const name = repositoryName(text);
  if (name === undefined) throw new RegistryError({ kind: 'name-invalid', name: text.slice(0, 300) });
  return name;
}

/** The path of an endpoint, absolute, fit for a request line; `parseEndpoint` of it gives the endpoint again. */
export function endpointPath(endpoint: Endpoint): string {
  switch (endpoint.kind) {
    case 'base':
      return '/v2/';
    case 'blob':
      return `/v2/${endpoint.name}/blobs/${encodeSegment(endpoint.digest)}`;
    case 'manifest':
      return `/v2/${endpoint.name}/manifests/${encodeSegment(endpoint.reference)}`;
    case 'uploads':
      return `/v2/${endpoint.name}/blobs/uploads/`;
    case 'upload':
      return `/v2/${endpoint.name}/blobs/uploads/${encodeSegment(endpoint.session)}`;
    case 'tags':
      return `/v2/${endpoint.name}/tags/list`;
    case 'referrers':
      return `/v2/${endpoint.name}/referrers/${encodeSegment(endpoint.digest)}`;
    default:
      return endpoint satisfies never;
  }
}

/** Keeps the colon of digests, which every registry expects bare. */
function encodeSegment(text: string): string {
  return encodeURIComponent(text).replaceAll('%3A', ':');
}
