import { RegistryReadError, type RegistryReadFault } from '../extensions/starlight/registry-reader.ts';
import { AccessError, type AccessFault } from './access/access-error.ts';
import { LimitError, type LimitFault } from './limits/limit-error.ts';
import type { HeaderList, RegistryAnswer } from './registry/registry.ts';
import { RegistryError, type RegistryFault } from './registry/registry-error.ts';

/** An error of the distribution API: status, code of the specification, text, and headers that belong to it. */
export interface OciError {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly detail?: unknown;
  readonly headers?: HeaderList;
}

/** The answer that carries `error` in the form of the distribution-spec. */
export function errorAnswer(error: OciError): RegistryAnswer {
  const { status, code, message, detail } = error;
  const body = Buffer.from(
    JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] }),
  );
  return {
    status,
    headers: [
      ['Content-Type', 'application/json; charset=utf-8'],
      ['Content-Length', String(body.byteLength)],
      ...(error.headers ?? []),
    ],
    body,
  };
}

/**
 * The one place where anything thrown becomes an HTTP answer. What is not known here is 500 and tells the
 * client nothing; the caller logs it.
 */
export function ociErrorOf(error: unknown): OciError {
  if (error instanceof RegistryError) return ofRegistry(error.fault);
  if (error instanceof RegistryReadError) return ofRead(error.fault);
  if (error instanceof AccessError) return ofAccess(error.fault);
  if (error instanceof LimitError) return ofLimit(error.fault);
  return { status: 500, code: 'UNKNOWN', message: 'internal error' };
}

function ofRegistry(fault: RegistryFault): OciError {
  switch (fault.kind) {
    case 'endpoint-unknown':
      return { status: 404, code: 'UNSUPPORTED', message: 'no such endpoint' };
    case 'method-unsupported':
      return {
        status: 405,
        code: 'UNSUPPORTED',
        message: 'the endpoint does not have this method',
        headers: [['Allow', fault.allow.join(', ')]],
      };
    case 'parameter-invalid':
      return { status: 400, code: 'UNSUPPORTED', message: fault.reason };
    case 'namespace-unknown':
      return {
        status: 404,
        code: 'NAME_UNKNOWN',
        message: 'not a mirror of this namespace',
        detail: { ns: fault.namespace },
      };
    case 'name-invalid':
      return {
        status: 400,
        code: 'NAME_INVALID',
        message: 'invalid repository name',
        detail: { name: fault.name },
      };
    case 'name-unknown':
      return {
        status: 404,
        code: 'NAME_UNKNOWN',
        message: 'repository not known',
        detail: { name: fault.name },
      };
    case 'digest-invalid':
      return { status: 400, code: 'DIGEST_INVALID', message: fault.reason };
    case 'size-invalid':
      return { status: 400, code: 'SIZE_INVALID', message: fault.reason };
    case 'blob-unknown':
      return {
        status: 404,
        code: 'BLOB_UNKNOWN',
        message: 'blob not known',
        detail: { digest: fault.digest },
      };
    case 'range-unsatisfiable':
      return {
        status: 416,
        code: 'SIZE_INVALID',
        message: 'the range lies outside of the blob',
        headers: [['Content-Range', `bytes */${fault.sizeBytes}`]],
      };
    case 'upload-unknown':
      return {
        status: 404,
        code: 'BLOB_UPLOAD_UNKNOWN',
        message: 'upload not known',
        detail: { session: fault.session },
      };
    case 'too-many-uploads':
      return {
        status: 429,
        code: 'TOOMANYREQUESTS',
        message: 'too many uploads are under way; finish or cancel some',
        headers: [['Retry-After', String(fault.retryAfterS)]],
      };
    case 'upload-busy':
      return {
        status: 409,
        code: 'BLOB_UPLOAD_INVALID',
        message: 'another request is writing to this upload',
      };
    case 'upload-out-of-order':
      return {
        status: 416,
        code: 'BLOB_UPLOAD_INVALID',
        message: `the chunk must begin at ${fault.offset}`,
        headers: [
          ['Location', fault.location],
          ['Range', `0-${Math.max(0, fault.offset - 1)}`],
        ],
      };
    case 'manifest-unknown':
      return {
        status: 404,
        code: 'MANIFEST_UNKNOWN',
        message: 'manifest not known',
        detail: { reference: fault.reference },
      };
    case 'manifest-invalid':
      return { status: 400, code: 'MANIFEST_INVALID', message: fault.reason };
    case 'manifest-too-large':
      return {
        status: 413,
        code: 'SIZE_INVALID',
        message: `a manifest may have at most ${fault.limitBytes} bytes`,
      };
    case 'manifest-blob-unknown':
      return {
        status: 404,
        code: 'MANIFEST_BLOB_UNKNOWN',
        message: 'the manifest names a blob that the repository does not hold',
        detail: { digest: fault.digest },
      };
    case 'too-many-tags':
      return { status: 414, code: 'UNSUPPORTED', message: `at most ${fault.limit} tags at once` };
    case 'is-manifest':
      return {
        status: 405,
        code: 'UNSUPPORTED',
        message: 'this is a manifest: delete it as one',
        detail: { digest: fault.digest },
        headers: [['Allow', 'GET, HEAD']],
      };
    case 'storage-full':
      return { status: 507, code: 'UNKNOWN', message: 'no space left in the registry' };
    case 'upstream-unreachable':
      return { status: 502, code: 'UNAVAILABLE', message: 'the upstream registry cannot be reached' };
    case 'upstream-timeout':
      return { status: 504, code: 'UNAVAILABLE', message: 'the upstream registry did not answer in time' };
    case 'upstream-withheld':
      return {
        status: fault.status,
        code: fault.status === 429 ? 'TOOMANYREQUESTS' : 'UNAVAILABLE',
        message: 'the upstream registry is not asked before it may answer again',
        headers: [['Retry-After', String(fault.retryAfterSeconds)]],
      };
    case 'upstream-denied':
      return {
        status: 403,
        code: 'DENIED',
        message: 'the upstream registry does not allow this to the proxy',
      };
    case 'upstream-busy':
      return {
        status: 429,
        code: 'TOOMANYREQUESTS',
        message: 'too many requests to the upstream registry are waiting',
        headers: [['Retry-After', String(fault.retryAfterSeconds)]],
      };
    case 'upstream-protocol':
      return {
        status: 502,
        code: 'UNAVAILABLE',
        message: `the upstream registry answered wrongly: ${fault.reason}`,
      };
    default:
      return fault satisfies never;
  }
}

function ofAccess(fault: AccessFault): OciError {
  switch (fault.kind) {
    case 'unauthorized':
      return {
        status: 401,
        code: 'UNAUTHORIZED',
        message: 'log in with a user of this registry',
        headers: [['WWW-Authenticate', fault.challenge]],
      };
    case 'denied':
      return { status: 403, code: 'DENIED', message: 'you may not do this here' };
    case 'login-busy':
      return {
        status: 429,
        code: 'TOOMANYREQUESTS',
        message: 'too many logins are being checked; try again soon',
        headers: [['Retry-After', String(fault.retryAfterS)]],
      };
    default:
      return fault satisfies never;
  }
}

function ofLimit(fault: LimitFault): OciError {
  switch (fault.kind) {
    case 'target-too-long':
      return {
        status: 414,
        code: 'UNSUPPORTED',
        message: `a path and query may have at most ${fault.limitBytes} bytes`,
      };
    case 'headers-too-many':
      return {
        status: 431,
        code: 'UNSUPPORTED',
        message: `a request may have at most ${fault.limit} headers`,
      };
    case 'header-repeated':
      return {
        status: 400,
        code: 'UNSUPPORTED',
        message: 'a header that may stand once stands twice',
        detail: { header: fault.name },
      };
    case 'too-many-requests':
      return {
        status: 429,
        code: 'TOOMANYREQUESTS',
        message: 'too many requests from this client; try again later',
        headers: [['Retry-After', String(fault.retryAfterS)]],
      };
    default:
      return fault satisfies never;
  }
}

function ofRead(fault: RegistryReadFault): OciError {
  switch (fault.kind) {
    case 'unauthorized':
      return {
        status: 401,
        code: 'UNAUTHORIZED',
        message: 'the registry asks for credentials',
        headers: fault.challenges.map((challenge) => ['WWW-Authenticate', challenge] as const),
      };
    case 'denied':
      return { status: 403, code: 'DENIED', message: 'the registry denies access' };
    case 'unavailable':
      if (fault.status === 429) {
        return {
          status: 429,
          code: 'TOOMANYREQUESTS',
          message: 'the registry asks for fewer requests',
          headers: [['Retry-After', fault.retryAfter ?? '1']],
        };
      }
      return { status: 503, code: 'UNAVAILABLE', message: 'the registry is not available' };
    case 'protocol':
      return { status: 502, code: 'UNAVAILABLE', message: 'the registry answered wrongly' };
    default:
      return fault satisfies never;
  }
}
