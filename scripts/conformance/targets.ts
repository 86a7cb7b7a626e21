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

  /** `others` run already: name to `http://host:port`. */
  static async start(others: ReadonlyMap<string, string> = new Map()): Promise<Targets> {
    const targets = new Targets(await mkdtemp(join(tmpdir(), 'sl-oci-')));
    try {
      await targets.#compare(others);
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

  async #compare(others: ReadonlyMap<string, string>): Promise<void> {
    const directory = join(this.#directory, 'docker-registry');
    await mkdir(directory);
    const registry = await DockerRegistry.start(directory);
    this.#running.push(registry);
    for (const [name, aloneUrl] of [['docker-registry', `http://${registry.host}`] as const, ...others]) {
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
