import type { RegistryReader } from '../../extensions/starlight/registry-reader.ts';
import { type JobRegistry, MAX_NAMES } from '../../extensions/starlight/jobs/job-registry.ts';
import { anonymous } from '../../schemas/registry-auth/credentials.ts';
import { fileCredentials } from '../../schemas/registry-auth/docker-credentials.ts';
import { listRepositories } from '../registry/embedded/list-repositories.ts';
import type { Registry } from '../registry/registry.ts';
import type { UpstreamRequest, UpstreamResponse } from '../upstream/upstream-client.ts';
import { FrontedJobRegistry } from './fronted-job-registry.ts';
import { ownAuthorization } from './own-credentials.ts';
import { OwnReader } from './own-reader.ts';
import { OwnRegistry } from './own-registry.ts';
import { upstreamCatalog } from './upstream-catalog.ts';

/** The embedded registry for jobs, below its access control: what they do was configured by whoever owns it. */
export function embeddedJobRegistry(root: string, registry: Registry, reader: RegistryReader): JobRegistry {
  const own = async () => undefined;
  return new FrontedJobRegistry(reader, new OwnRegistry('the embedded registry', registry, own), (signal) =>
    listRepositories(root, MAX_NAMES, signal),
  );
}

export interface UpstreamSeams {
  readonly registry: Registry;
  readonly reader: RegistryReader;
  /** For what is no endpoint of the distribution-spec. */
  readonly send: (request: UpstreamRequest) => Promise<UpstreamResponse>;
}

/** An upstream for jobs, asked with the credentials that `credentialsFile` has for its host. */
export function upstreamJobRegistry(
  url: string,
  credentialsFile: string | undefined,
  { registry, reader, send }: UpstreamSeams,
): JobRegistry {
  const base = new URL(url);
  const credentials = credentialsFile === undefined ? anonymous : fileCredentials(credentialsFile);
  const own = ownAuthorization(base.host, credentials);
  return new FrontedJobRegistry(
    new OwnReader(reader, own),
    new OwnRegistry(base.host, registry, own),
    (signal) => upstreamCatalog(base, send, own, signal),
  );
}
