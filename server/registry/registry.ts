import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { RepositoryName } from './repository-name.ts';

/**
 * What of the distribution API a request is about (REFERENCE.md, table 1). The name is checked; references,
 * digests and sessions are as the client wrote them, since only the registry can judge them.
 */
export type Endpoint =
  | { readonly kind: 'base' }
  | { readonly kind: 'blob'; readonly name: RepositoryName; readonly digest: string }
  | { readonly kind: 'manifest'; readonly name: RepositoryName; readonly reference: string }
  | { readonly kind: 'uploads'; readonly name: RepositoryName }
  | { readonly kind: 'upload'; readonly name: RepositoryName; readonly session: string }
  | { readonly kind: 'tags'; readonly name: RepositoryName }
  | { readonly kind: 'referrers'; readonly name: RepositoryName; readonly digest: string };

export type EndpointKind = Endpoint['kind'];
export type EndpointOf<K extends EndpointKind> = Extract<Endpoint, { readonly kind: K }>;

export const REGISTRY_METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'] as const;
export type RegistryMethod = (typeof REGISTRY_METHODS)[number];

/** A request of the distribution API. Its method is one that the endpoint has. */
export interface RegistryRequest<E extends Endpoint = Endpoint> {
  readonly endpoint: E;
  readonly method: RegistryMethod;
  readonly query: URLSearchParams;
  /** The same as it stood in the request line, without the question mark. */
  readonly rawQuery: string;
  /** Names in lower case, as Node parsed them. */
  readonly headers: IncomingHttpHeaders;
  /** Name, value, name, value, as they came. */
  readonly rawHeaders: readonly string[];
  /** The body on its way; empty where there is none. */
  readonly body: Readable;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
  /** Where the proxy itself decides who may do what (`../access/`); undefined where everybody may do everything. */
  readonly caller?: RegistryCaller;
}

/** Who asks a registry of our own. */
export interface RegistryCaller {
  /** The user, whose uploads are nobody else's; empty for those who have not logged in. */
  readonly owner: string;
  /** Whether a blob that is there may be mounted from there. */
  mayPull(name: RepositoryName): boolean;
}

export type HeaderList = readonly (readonly [name: string, value: string])[];

/**
 * What to answer. Whoever gets it reads the stream to its end or destroys it. To HEAD there is no body, but
 * the headers tell of the one that GET would have.
 */
export interface RegistryAnswer {
  readonly status: number;
  readonly headers: HeaderList;
  readonly body?: Uint8Array | Readable;
}

/** A registry that answers the distribution API: on this machine's disk, elsewhere, or in front of another one. */
export interface Registry {
  /** @throws {RegistryError} and, once `request.signal` is aborted, its reason. */
  answer(request: RegistryRequest): Promise<RegistryAnswer>;
}
