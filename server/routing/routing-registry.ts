import type { HeaderList, Registry, RegistryAnswer, RegistryRequest } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { type RepositoryName, repositoryName } from '../registry/repository-name.ts';
import type { Choice, Route, RouteTable } from './route-table.ts';

/** A registry and what leads to it. */
export interface RoutedRegistry {
  readonly route: Route;
  readonly registry: Registry;
}

/**
 * Passes each request on to one of several registries, under the name that the repository has there, and leads what
 * the answer points to (`Location`, `Link`) back the same way. The answer names the registry's host in
 * `OCI-Namespace`.
 */
export class RoutingRegistry implements Registry {
  readonly #table: RouteTable<RoutedRegistry>;

  constructor(table: RouteTable<RoutedRegistry>) {
    this.#table = table;
  }

  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    const namespace = this.#table.namespace(request.query.get('ns'), request.headers.host);
    const { endpoint } = request;
    if (endpoint.kind === 'base') return await this.#answerBase(request, namespace);
    const choice = this.#table.choose(namespace, endpoint.name);
    if (choice === undefined) throw unknown(namespace, endpoint.name);
    const back = new WayBack(choice, namespace);
    try {
      const answer = await choice.target.registry.answer({
        ...request,
        endpoint: { ...endpoint, name: choice.name },
        ...this.#query(request, choice, namespace),
      });
      return { ...answer, headers: back.headers(answer.headers) };
    } catch (error) {
      throw back.error(error);
    }
  }

  /** Without a host the default registry speaks for all; where there is none, this is a registry all the same. */
  async #answerBase(request: RegistryRequest, namespace: string | undefined): Promise<RegistryAnswer> {
    const target = this.#table.target(namespace);
    if (target !== undefined) {
      const answer = await target.registry.answer({ ...request, ...withoutNamespace(request) });
      return { ...answer, headers: named(answer.headers, target.route, namespace) };
    }
    if (namespace !== undefined) throw unknown(namespace, '');
    const body = Buffer.from('{}');
    const headers = [
      ['Content-Type', 'application/json'],
      ['Content-Length', String(body.byteLength)],
    ] as const;
    return { status: 200, headers, ...(request.method === 'HEAD' ? {} : { body }) };
  }

  /** A mount's `from` is a name of the client's too. What lies in another registry cannot be mounted: it is uploaded. */
  #query(
    request: RegistryRequest,
    choice: Choice<RoutedRegistry>,
    namespace: string | undefined,
  ): Pick<RegistryRequest, 'query' | 'rawQuery'> {
    const plain = withoutNamespace(request);
    const from = request.endpoint.kind === 'uploads' ? plain.query.get('from') : null;
    if (from === null) return plain;
    const name = repositoryName(from);
    const source = name === undefined ? undefined : this.#table.choose(namespace, name);
    if (name !== undefined && source?.target === choice.target && source.name === name) return plain;
    if (name === undefined) return plain; // what is no name the registry itself refuses
    const query = new URLSearchParams(plain.query);
    if (source?.target === choice.target) query.set('from', source.name);
    else for (const key of ['from', 'mount']) query.delete(key);
    return { query, rawQuery: query.toString() };
  }
}

/** From what a registry answers to what our client is told. */
class WayBack {
  readonly #choice: Choice<RoutedRegistry>;
  readonly #namespace: string | undefined;

  constructor(choice: Choice<RoutedRegistry>, namespace: string | undefined) {
    this.#choice = choice;
    this.#namespace = namespace;
  }

  headers(headers: HeaderList): HeaderList {
    const led = headers.map(([name, value]) => {
      const lower = name.toLowerCase();
      if (lower === 'location') return [name, this.#path(value)] as const;
      if (lower === 'link') {
        return [name, value.replace(/<([^>]*)>/g, (_, path: string) => `<${this.#path(path)}>`)] as const;
      }
      return [name, value] as const;
    });
    return named(led, this.#choice.target.route, this.#namespace);
  }

  error(error: unknown): unknown {
    if (!(error instanceof RegistryError) || error.fault.kind !== 'upload-out-of-order') return error;
    return new RegistryError(
      { ...error.fault, location: this.#path(error.fault.location) },
      { cause: error.cause },
    );
  }

  /** Whoever follows it comes to the same registry again. A URL on another host stays as it is. */
  #path(text: string): string {
    const match = /^\/v2\/(.*)$/s.exec(text);
    if (match === null) return text;
    const path = `/v2/${this.#choice.prefix}${match[1] ?? ''}`;
    if (this.#namespace === undefined) return path;
    return `${path}${path.includes('?') ? '&' : '?'}ns=${encodeURIComponent(this.#namespace)}`;
  }
}

function withoutNamespace(request: RegistryRequest): Pick<RegistryRequest, 'query' | 'rawQuery'> {
  if (!request.query.has('ns')) return { query: request.query, rawQuery: request.rawQuery };
  const query = new URLSearchParams(request.query);
  query.delete('ns');
  const rawQuery = request.rawQuery
    .split('&')
    .filter((part) => new URLSearchParams(part).get('ns') === null)
    .join('&');
  return { query, rawQuery };
}

function named(headers: HeaderList, route: Route, namespace: string | undefined): HeaderList {
  const host = namespace ?? (route.hosts === 'any' ? undefined : route.hosts[0]);
  const rest = headers.filter(([name]) => name.toLowerCase() !== 'oci-namespace');
  return host === undefined ? rest : [...rest, ['OCI-Namespace', host]];
}

function unknown(namespace: string | undefined, name: RepositoryName | ''): RegistryError {
  if (namespace !== undefined) return new RegistryError({ kind: 'namespace-unknown', namespace });
  return new RegistryError({ kind: 'name-unknown', name });
}
