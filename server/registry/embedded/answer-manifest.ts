import { isDigest } from '../../../schemas/oci/digest.ts';
import { noneMatchNames } from '../../distribution/range.ts';
import type { EndpointOf, HeaderList, RegistryAnswer, RegistryRequest } from '../registry.ts';
import { readManifestBody } from '../manifest-body.ts';
import { RegistryError } from '../registry-error.ts';
import type { Manifests } from './manifests.ts';
import type { RepositoryFiles } from './repository-files.ts';

/** GET, HEAD, PUT and DELETE of a manifest or tag. */
export async function answerManifest(
  { manifests, maxBytes }: { readonly manifests: Manifests; readonly maxBytes: number },
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'manifest'>>,
): Promise<RegistryAnswer> {
  const { reference } = request.endpoint;
  switch (request.method) {
    case 'PUT':
      return put(manifests, files, request, maxBytes);
    case 'DELETE':
      if (!(await manifests.remove(files, reference))) throw await unknown(files, reference);
      return { status: 202, headers: [['Content-Length', '0']] };
    default:
      return get(manifests, files, request);
  }
}

async function get(
  manifests: Manifests,
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'manifest'>>,
): Promise<RegistryAnswer> {
  const { reference } = request.endpoint;
  const manifest = await manifests.read(files, reference);
  if (manifest === undefined) throw await unknown(files, reference);
  const etag = `"${manifest.digest}"`;
  const common: HeaderList = [
    ['Docker-Content-Digest', manifest.digest],
    ['ETag', etag],
  ];
  if (noneMatchNames(request.headers['if-none-match'], etag)) return { status: 304, headers: common };
  return {
    status: 200,
    headers: [
      ['Content-Type', manifest.mediaType],
      ['Content-Length', String(manifest.bytes.byteLength)],
      ...common,
    ],
    ...(request.method === 'HEAD' ? {} : { body: manifest.bytes }),
  };
}

async function put(
  manifests: Manifests,
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'manifest'>>,
  maxBytes: number,
): Promise<RegistryAnswer> {
  const { endpoint, headers, query } = request;
  const bytes = await readManifestBody(request.body, headers['content-length'], maxBytes);
  const tags = query.getAll('tag');
  const declaredType = headers['content-type']?.split(';')[0]?.trim().toLowerCase() || undefined;
  const pushed = await manifests.put(files, endpoint.reference, tags, declaredType, bytes);
  const reference = isDigest(endpoint.reference) ? pushed.digest : endpoint.reference;
  return {
    status: 201,
    headers: [
      ['Location', `/v2/${files.name}/manifests/${reference}`],
      ['Docker-Content-Digest', pushed.digest],
      ...(pushed.subject === undefined ? [] : ([['OCI-Subject', pushed.subject]] as const)),
      ...tags.map((tag) => ['OCI-Tag', tag] as const),
      ['Content-Length', '0'],
    ],
  };
}

async function unknown(files: RepositoryFiles, reference: string): Promise<RegistryError> {
  if (!(await files.exists())) return new RegistryError({ kind: 'name-unknown', name: files.name });
  return new RegistryError({ kind: 'manifest-unknown', reference: reference.slice(0, 160) });
}
