import type { Digest } from '../../schemas/oci/digest.ts';
import { DirectoryError } from './directory.ts';
import { RegistryReadError } from './registry-reader.ts';

/** Why a question to the extension is not answered. */
export type StarlightFault =
  | { readonly kind: 'invalid-request'; readonly reason: string }
  | { readonly kind: 'body-too-large'; readonly limitBytes: number }
  | { readonly kind: 'namespace-unknown'; readonly namespace: string }
  | { readonly kind: 'name-unknown'; readonly name: string }
  /** The token that notify and report want is missing or wrong. */
  | { readonly kind: 'token' }
  /** The secret that webhooks share with the proxy is missing or wrong. */
  | { readonly kind: 'secret' }
  /** A part that works only where `setting` is set. */
  | { readonly kind: 'off'; readonly what: string; readonly setting: string }
  /** Of a job's id. */
  | { readonly kind: 'job-unknown'; readonly id: string }
  | { readonly kind: 'manifest-unknown'; readonly reference: string }
  | { readonly kind: 'platform-unknown'; readonly reference: string; readonly offered: readonly string[] }
  /** An ordinary image: to be pulled the ordinary way. */
  | { readonly kind: 'not-converted'; readonly reference: string; readonly reason: string }
  /** It calls itself converted, and what it says of itself is not so. */
  | { readonly kind: 'image-refused'; readonly manifest: Digest; readonly reason: string }
  /** Of report: no such image was ingested. */
  | { readonly kind: 'image-unknown'; readonly manifest: Digest }
  | { readonly kind: 'unauthorized'; readonly challenges: readonly string[] }
  | { readonly kind: 'denied' }
  | { readonly kind: 'unavailable'; readonly what: string; readonly retryAfter?: string }
  /** The registry broke its protocol. */
  | { readonly kind: 'registry'; readonly reason: string };

export class StarlightError extends Error {
  readonly fault: StarlightFault;

  constructor(fault: StarlightFault, options?: ErrorOptions) {
    super(describeFault(fault), options);
    this.name = 'StarlightError';
    this.fault = fault;
  }
}

/** One sentence for people. */
export function describeFault(fault: StarlightFault): string {
  switch (fault.kind) {
    case 'invalid-request':
      return fault.reason;
    case 'body-too-large':
      return `the body is larger than ${fault.limitBytes} bytes`;
    case 'namespace-unknown':
      return `this proxy does not serve the registry ${fault.namespace}`;
    case 'name-unknown':
      return `no registry that this proxy serves has a repository ${fault.name}: name its host, or begin with its prefix`;
    case 'token':
      return 'the header Starlight-Token is missing or wrong';
    case 'secret':
      return 'the header Authorization does not carry the secret that the proxy has in events.secret';
    case 'off':
      return `${fault.what} is off: set ${fault.setting} in the configuration of the proxy`;
    case 'job-unknown':
      return `there is no job ${fault.id} (any more)`;
    case 'manifest-unknown':
      return `the registry knows no image ${fault.reference}`;
    case 'platform-unknown':
      return `${fault.reference} has no image for that platform (it has: ${fault.offered.join(', ') || 'none'})`;
    case 'not-converted':
      return `${fault.reference} is not converted: ${fault.reason}`;
    case 'image-refused':
      return `image ${fault.manifest} is refused: ${fault.reason}`;
    case 'image-unknown':
      return `image ${fault.manifest} was not ingested from that repository`;
    case 'unauthorized':
      return 'the registry wants other credentials';
    case 'denied':
      return 'the registry denies this';
    case 'unavailable':
      return `${fault.what} cannot answer now`;
    case 'registry':
      return `the registry broke its protocol: ${fault.reason}`;
    default:
      return fault satisfies never;
  }
}

/** Faults of what stands below the extension, in its own words; anything else is given back as it is. */
export function asStarlightError(error: unknown): unknown {
  if (error instanceof RegistryReadError) {
    const { fault } = error;
    switch (fault.kind) {
      case 'unauthorized':
        return new StarlightError({ kind: 'unauthorized', challenges: fault.challenges }, { cause: error });
      case 'denied':
        return new StarlightError({ kind: 'denied' }, { cause: error });
      case 'unavailable': {
        const retry = fault.retryAfter === undefined ? {} : { retryAfter: fault.retryAfter };
        return new StarlightError({ kind: 'unavailable', what: 'the registry', ...retry }, { cause: error });
      }
      case 'protocol':
        return new StarlightError({ kind: 'registry', reason: error.message }, { cause: error });
      default:
        return fault satisfies never;
    }
  }
  if (error instanceof DirectoryError && error.fault.kind === 'unavailable') {
    return new StarlightError({ kind: 'unavailable', what: 'the directory' }, { cause: error });
  }
  return error;
}
