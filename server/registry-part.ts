import type { RegistryReader } from '../extensions/starlight/registry-reader.ts';
import type { ServerConfig } from './config.ts';
import type { Part } from './part.ts';
import { EmbeddedReader } from './registry/embedded/embedded-reader.ts';
import { EmbeddedRegistry } from './registry/embedded/embedded-registry.ts';
import type { Registry } from './registry/registry.ts';
import { UpstreamClient } from './upstream/upstream-client.ts';
import { UpstreamReader } from './upstream/upstream-reader.ts';
import { UpstreamRegistry } from './upstream/upstream-registry.ts';

/** The registry that is fronted: as clients ask it, and as the extensions read it. */
export interface RegistryPart extends Part {
  readonly registry: Registry;
  readonly reader: RegistryReader;
}

/** The upstream where one is configured, else the embedded registry. @throws where that cannot be used. */
export async function registryPart(config: ServerConfig): Promise<RegistryPart> {
  if (config.upstream !== undefined) {
    const client = new UpstreamClient(config.upstream);
    return {
      registry: new UpstreamRegistry(config.upstream, client),
      reader: new UpstreamReader(config.upstream.url, client),
      routes: [],
      // An upstream that is down must not take the proxy out of service: what is answered without it still is.
      checks: [],
      closing: [{ name: 'upstream', close: () => client.close() }],
    };
  }
  const registry = new EmbeddedRegistry(config.storage.dir, Date.now);
  await registry.ready();
  return {
    registry,
    reader: new EmbeddedReader(registry),
    routes: [],
    checks: [{ name: 'storage', check: () => registry.ready() }],
    closing: [],
  };
}
