import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DockerRegistry } from '../../test/support/docker-registry.ts';
import { ProxyProcess } from '../../test/support/proxy-process.ts';

/** How the proxy stands in front of another registry, by what that is called. */
const FRONTS: readonly (readonly [how: string, settings: readonly string[]])[] = [
  ['through the proxy', []],
  ['through the proxy as a mirror', ['--mirror-max-bytes', String(256 << 20)]],
];

/** A registry to compare with: by itself, and through the proxy. */
export interface Compared {
  readonly name: string;
  readonly aloneUrl: string;
  /** By how the proxy is set up. */
  readonly throughUrls: ReadonlyMap<string, string>;
}

export interface TargetOptions {
  /** Releases of docker-registry that are started as well: name to program. */
  readonly releases?: ReadonlyMap<string, string>;
  /** Registries that run already: name to `http://host:port`. */
  readonly running?: ReadonlyMap<string, string>;
}

/** The registries that suites are run against, each started once. */
export class Targets implements AsyncDisposable {
  readonly #directory: string;
  readonly #running: AsyncDisposable[] = [];
  /** By their settings. */
  readonly #embedded = new Map<string, Promise<string>>();
  readonly compared: Compared[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Starts docker-registry, what `options` names, and proxies before these and before the embedded registry. */
  static async start(options: TargetOptions = {}): Promise<Targets> {
    const targets = new Targets(await mkdtemp(join(tmpdir(), 'sl-oci-')));
    try {
      await targets.#compare(options);
      return targets;
    } catch (error) {
      await targets[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The URL of a proxy with an embedded registry and `settings`. */
  async embedded(settings: readonly string[] = []): Promise<string> {
    const key = settings.join(' ');
    const known = this.#embedded.get(key);
    if (known !== undefined) return await known;
    const started = this.#proxy(`embedded-${this.#embedded.size}`, settings);
    this.#embedded.set(key, started);
    return await started;
  }

  async #compare({ releases = new Map(), running = new Map() }: TargetOptions): Promise<void> {
    const alone = new Map<string, string>();
    for (const [name, command] of [['docker-registry', 'docker-registry'] as const, ...releases]) {
      const directory = join(this.#directory, `registry-${alone.size}`);
      await mkdir(directory);
      const registry = await DockerRegistry.start(directory, { command });
      this.#running.push(registry);
      alone.set(name, `http://${registry.host}`);
    }
    alone.set('another proxy', await this.embedded()); // lacks nothing, so that nothing may be lost
    for (const [name, aloneUrl] of [...alone, ...running]) {
      const throughUrls = new Map<string, string>();
      for (const [row, [how, settings]] of FRONTS.entries()) {
        const place = `before-${this.compared.length}-${row}`;
        const mirror = ['--mirror-dir', join(this.#directory, place, 'mirror')];
        const flags = ['--upstream-url', aloneUrl, ...settings, ...(settings.length === 0 ? [] : mirror)];
        throughUrls.set(how, await this.#proxy(place, flags));
      }
      this.compared.push({ name, aloneUrl, throughUrls });
    }
  }

  async #proxy(place: string, settings: readonly string[]): Promise<string> {
    const proxy = await ProxyProcess.start(join(this.#directory, place), settings);
    this.#running.push(proxy);
    return proxy.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#running.reverse()) await one[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
