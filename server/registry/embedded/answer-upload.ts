import {
  type Digest,
  type DigestAlgorithm,
  DIGEST_HEX_LENGTH,
  digestAlgorithm,
  isDigest,
} from '../../../schemas/oci/digest.ts';
import { parseChunkRange } from '../../distribution/range.ts';
import type { EndpointOf, HeaderList, RegistryAnswer, RegistryRequest } from '../registry.ts';
import { RegistryError } from '../registry-error.ts';
import { repositoryName } from '../repository-name.ts';
import type { Blobs } from './blobs.ts';
import type { PushPolicy } from './push-policy.ts';
import type { RepositoryFiles } from './repository-files.ts';
import type { ChunkClaim, Uploads } from './uploads.ts';

interface Stores {
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  readonly policy: PushPolicy;
}

/** POST: mounts a blob, or takes it whole, or starts an upload. */
export async function answerUploads(
  { blobs, uploads, policy }: Stores,
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'uploads'>>,
): Promise<RegistryAnswer> {
  const { query, signal } = request;
  const mount = query.get('mount');
  if (mount !== null) {
    const digest = requireDigest(mount, 'mount');
    const from = query.get('from');
    const allowed = policy.crossMount === 'any' || (policy.crossMount === 'named' && from !== null);
    const source = from === null ? undefined : repositoryName(from);
    const known = from === null || source !== undefined;
    const mayPull = request.caller?.mayPull.bind(request.caller) ?? (() => true);
    const mounted = allowed && known && (await blobs.mount(files, digest, source, mayPull));
    return mounted
      ? created(files, digest)
      : accepted(files, await uploads.start(files, digestAlgorithm(digest)), 0);
  }
  const text = query.get('digest');
  if (text !== null) {
    const digest = requireDigest(text, 'digest');
    const session = await uploads.start(files, digestAlgorithm(digest));
    try {
      await uploads.finish(files, session, digest, request.body, claimOf(request), signal);
    } catch (error) {
      // The client never learnt of this session, so nobody could go on with it.
      await uploads.cancel(files, session).catch(() => undefined);
      throw error;
    }
    return created(files, digest);
  }
  return accepted(files, await uploads.start(files, requireAlgorithm(query.get('digest-algorithm'))), 0);
}

/** GET, PATCH, PUT and DELETE of an upload. */
export async function answerUpload(
  { uploads }: Stores,
  files: RepositoryFiles,
  request: RegistryRequest<EndpointOf<'upload'>>,
): Promise<RegistryAnswer> {
  const { session } = request.endpoint;
  switch (request.method) {
    case 'PATCH': {
      const offset = await uploads.append(files, session, request.body, claimOf(request), request.signal);
      return accepted(files, session, offset);
    }
    case 'PUT': {
      const digest = requireDigest(request.query.get('digest') ?? '', 'digest');
      await uploads.finish(files, session, digest, request.body, claimOf(request), request.signal);
      return created(files, digest);
    }
    case 'DELETE':
      await uploads.cancel(files, session);
      return { status: 204, headers: [] };
    default:
      return { status: 204, headers: progress(files, session, await uploads.offset(files, session)) };
  }
}

function created(files: RepositoryFiles, digest: Digest): RegistryAnswer {
  return {
    status: 201,
    headers: [
      ['Location', `/v2/${files.name}/blobs/${digest}`],
      ['Docker-Content-Digest', digest],
      ['Content-Length', '0'],
    ],
  };
}

function accepted(files: RepositoryFiles, session: string, offset: number): RegistryAnswer {
  return { status: 202, headers: [...progress(files, session, offset), ['Content-Length', '0']] };
}

function progress(files: RepositoryFiles, session: string, offset: number): HeaderList {
  return [
    ['Location', `/v2/${files.name}/blobs/uploads/${session}`],
    ['Docker-Upload-UUID', session],
    ['Range', `0-${Math.max(0, offset - 1)}`],
  ];
}

function claimOf(request: RegistryRequest): ChunkClaim {
  const header = request.headers['content-range'];
  const length = request.headers['content-length'];
  if (header === undefined) return {};
  const range = parseChunkRange(header);
  if (range === undefined) {
    throw new RegistryError({ kind: 'size-invalid', reason: 'Content-Range is not <start>-<end>' });
  }
  const sizeBytes = range.end - range.start + 1;
  if (length !== undefined && Number(length) !== sizeBytes) {
    throw new RegistryError({ kind: 'size-invalid', reason: 'Content-Range and Content-Length disagree' });
  }
  return { start: range.start, sizeBytes };
}

function requireDigest(text: string, parameter: string): Digest {
  if (!isDigest(text)) {
    throw new RegistryError({
      kind: 'digest-invalid',
      reason: `the parameter "${parameter}" must be a digest`,
    });
  }
  return text;
}

function requireAlgorithm(text: string | null): DigestAlgorithm {
  if (text === null) return 'sha256';
  if (!Object.hasOwn(DIGEST_HEX_LENGTH, text)) {
    throw new RegistryError({ kind: 'digest-invalid', reason: 'digest-algorithm must be sha256 or sha512' });
  }
  return text as DigestAlgorithm; // one of the table's keys
}
