import { type Digest, isDigest } from '../../../schemas/oci/digest.ts';
import { noneMatchNames, parseRange } from '../../distribution/range.ts';
import type { EndpointOf, HeaderList, RegistryAnswer, RegistryRequest } from '../registry.ts';
import { RegistryError } from '../registry-error.ts';
import type { Blobs } from './blobs.ts';
import type { Manifests } from './manifests.ts';
import type { RepositoryFiles } from './repository-files.ts';

/** GET, HEAD and DELETE of a blob. */
export async function answerBlob(
  stores: { readonly blobs: Blobs; readonly manifests: Manifests },
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'blob'>>,
): Promise<RegistryAnswer> {
  const { digest } = request.endpoint;
  if (!isDigest(digest)) {
    throw new RegistryError({ kind: 'digest-invalid', reason: 'the path does not end in a digest' });
  }
  if (request.method === 'DELETE') return remove(stores, files, digest);
  const blob = await stores.blobs.open(files, digest);
  if (blob === undefined) throw new RegistryError({ kind: 'blob-unknown', digest });
  let handedOver = false;
  try {
    const etag = `"${digest}"`;
    const common: HeaderList = [
      ['Docker-Content-Digest', digest],
      ['ETag', etag],
      ['Accept-Ranges', 'bytes'],
      ['Cache-Control', 'max-age=31536000, immutable'],
    ];
    if (noneMatchNames(request.headers['if-none-match'], etag)) return { status: 304, headers: common };
    const ifRange = request.headers['if-range'];
    const header = ifRange === undefined || ifRange === etag ? request.headers.range : undefined;
    const range = parseRange(header, blob.sizeBytes);
    if (range === 'unsatisfiable') {
      throw new RegistryError({ kind: 'range-unsatisfiable', sizeBytes: blob.sizeBytes });
    }
    const part = range === 'whole' ? undefined : range;
    const sizeBytes = part === undefined ? blob.sizeBytes : part.end - part.start + 1;
    const headers: HeaderList = [
      ['Content-Type', 'application/octet-stream'],
      ['Content-Length', String(sizeBytes)],
      ...(part === undefined
        ? []
        : ([['Content-Range', `bytes ${part.start}-${part.end}/${blob.sizeBytes}`]] as const)),
      ...common,
    ];
    const status = part === undefined ? 200 : 206;
    if (request.method === 'HEAD') return { status, headers };
    handedOver = true;
    return { status, headers, body: blob.stream(part) };
  } finally {
    if (!handedOver) await blob.close();
  }
}

async function remove(
  stores: { readonly blobs: Blobs; readonly manifests: Manifests },
  files: RepositoryFiles,
  digest: Digest,
): Promise<RegistryAnswer> {
  // In a layout manifests are blobs; removed as one, a manifest would leave its tags behind.
  if ((await stores.manifests.find(files, digest)) !== undefined) {
    throw new RegistryError({ kind: 'is-manifest', digest });
  }
  if (!(await stores.blobs.remove(files, digest))) throw new RegistryError({ kind: 'blob-unknown', digest });
  return { status: 202, headers: [['Content-Length', '0']] };
}
