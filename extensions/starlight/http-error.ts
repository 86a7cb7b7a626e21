import { asStarlightError, StarlightError, type StarlightFault } from './starlight-error.ts';

export interface HttpError {
  readonly status: number;
  /** One of the distribution-spec's codes, or of the extension's own. */
  readonly code: string;
  readonly message: string;
  readonly detail?: unknown;
  readonly headers: readonly (readonly [name: string, values: readonly string[]])[];
}

/** How a fault is answered; undefined for what is no fault of the extension's. */
export function httpErrorOf(thrown: unknown): HttpError | undefined {
  const error = asStarlightError(thrown);
  if (!(error instanceof StarlightError)) return undefined;
  const { message, fault } = error;
  const { status, code, detail } = statusOf(fault);
  return { status, code, message, headers: headersOf(fault), ...(detail === undefined ? {} : { detail }) };
}

function statusOf(fault: StarlightFault): { status: number; code: string; detail?: unknown } {
  switch (fault.kind) {
    case 'invalid-request':
      return { status: 400, code: 'INVALID_REQUEST' };
    case 'body-too-large':
      return { status: 413, code: 'SIZE_INVALID' };
    case 'namespace-unknown':
      return { status: 404, code: 'NAME_UNKNOWN', detail: { ns: fault.namespace } };
    case 'name-unknown':
      return { status: 404, code: 'NAME_UNKNOWN', detail: { name: fault.name } };
    case 'token':
    case 'secret':
      return { status: 403, code: 'DENIED' };
    case 'off':
      return { status: 404, code: 'UNSUPPORTED', detail: { setting: fault.setting } };
    case 'job-unknown':
      return { status: 404, code: 'JOB_UNKNOWN', detail: { id: fault.id } };
    case 'manifest-unknown':
      return { status: 404, code: 'MANIFEST_UNKNOWN', detail: { reference: fault.reference } };
    case 'platform-unknown':
      return { status: 404, code: 'PLATFORM_UNKNOWN', detail: { offered: fault.offered } };
    case 'not-converted':
      return { status: 404, code: 'NOT_CONVERTED', detail: { reason: fault.reason } };
    case 'image-refused':
      return {
        status: 422,
        code: 'IMAGE_REFUSED',
        detail: { manifest: fault.manifest, reason: fault.reason },
      };
    case 'image-unknown':
      return { status: 404, code: 'MANIFEST_UNKNOWN', detail: { digest: fault.manifest } };
    case 'unauthorized':
      return { status: 401, code: 'UNAUTHORIZED' };
    case 'denied':
      return { status: 403, code: 'DENIED' };
    case 'unavailable':
      return { status: 503, code: 'UNAVAILABLE' };
    case 'registry':
      return { status: 502, code: 'UNAVAILABLE' };
    default:
      return fault satisfies never;
  }
}

function headersOf(fault: StarlightFault): HttpError['headers'] {
  if (fault.kind === 'unauthorized' && fault.challenges.length > 0) {
    return [['WWW-Authenticate', fault.challenges]];
  }
  if (fault.kind === 'unavailable' && fault.retryAfter !== undefined) {
    return [['Retry-After', [fault.retryAfter]]];
  }
  return [];
}
