import type { ClientTls } from '../tls/client-tls.ts';
import type { CredentialSource } from '../registry-auth/credentials.ts';
import type { ImageSink, ImageSource, RepositoryPlace } from './image-endpoint.ts';
import { ImageError } from './image-error.ts';
import { type ImageName, parseImageName } from './image-name.ts';
import { LayoutSink } from './layout-sink.ts';
import { LayoutSource } from './layout-source.ts';
import { RegistryClient } from './registry-client.ts';
import { RegistrySink } from './registry-sink.ts';
import { RegistrySource } from './registry-source.ts';
import { repositoryName } from './repository-name.ts';

export interface EndpointOptions {
  readonly source: string;
  readonly destination: string;
  readonly credentials: CredentialSource;
  readonly insecureSource: boolean;
  readonly insecureDestination: boolean;
  /** For both ends. */
  readonly tls?: ClientTls | undefined;
}

/** Both ends of a conversion; disposing of them closes their connections. */
export class Endpoints implements AsyncDisposable {
  readonly source: ImageSource;
  readonly sink: ImageSink;
  readonly #clients: RegistryClient[] = [];

  /** @throws {ImageError} `invalid-name` */
  constructor(options: EndpointOptions) {
    const { credentials } = options;
    const from = parseImageName(options.source);
    const to = parseImageName(options.destination);
    if (to.kind === 'registry' && to.reference.digest !== undefined) {
      const fault = { kind: 'invalid-name', name: options.destination } as const;
      throw new ImageError(fault, `${options.destination}: the result has a digest of its own; name a tag`);
    }
    const client = (host: string, insecure: boolean): RegistryClient => {
      const made = new RegistryClient(host, { credentials, insecure, tls: options.tls });
      this.#clients.push(made);
      return made;
    };
    this.source =
      from.kind === 'layout'
        ? new LayoutSource(from.directory, from.tag)
        : new RegistrySource(
            client(from.reference.host, options.insecureSource),
            from.reference,
            options.source,
          );
    this.sink =
      to.kind === 'layout'
        ? new LayoutSink(to.directory, to.tag)
        : new RegistrySink(
            client(to.reference.host, options.insecureDestination),
            to.reference,
            options.destination,
            placeOf(from),
          );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client[Symbol.asyncDispose]()));
  }
}

function placeOf(name: ImageName): RepositoryPlace | undefined {
  if (name.kind === 'layout') return undefined;
  return { host: name.reference.host, repository: repositoryName(name.reference) };
}
