import { InvalidReferenceError } from '../../schemas/oci/reference.ts';
import { DockerConfigError } from '../../schemas/registry-auth/docker-config.ts';
import { ContainerdError } from '../containerd/containerd-error.ts';
import { DownloadError } from '../download/download-error.ts';
import { StoreError } from '../store/store-error.ts';

/** A request that the control API refuses; `status` is its HTTP status. */
export class ControlError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(status: number, code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ControlError';
    this.code = code;
    this.status = status;
  }
}

/** Any failure as the control API tells it; the one place where the worker's errors become codes. */
export function describeError(error: unknown): { status: number; code: string; message: string } {
  if (error instanceof ControlError)
    return { status: error.status, code: error.code, message: error.message };
  if (error instanceof InvalidReferenceError) {
    return { status: 400, code: 'invalid-reference', message: error.message };
  }
  if (error instanceof DownloadError) {
    return { status: error.kind === 'not-found' ? 404 : 502, code: error.kind, message: error.message };
  }
  if (error instanceof StoreError) return { status: 507, code: error.fault.kind, message: error.message };
  if (error instanceof ContainerdError) {
    return { status: 502, code: `containerd-${error.kind}`, message: error.message };
  }
  if (error instanceof DockerConfigError)
    return { status: 500, code: 'docker-config', message: error.message };
  return { status: 500, code: 'internal', message: error instanceof Error ? error.message : String(error) };
}
