import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { makeDirectory } from '../../schemas/disk/make-directory.ts';
import { digestHex, digestOf } from '../../schemas/oci/digest.ts';
import type { MirrorConfig } from '../config.ts';
import { DirectoryLock } from '../directory/directory-lock.ts';
import type { Metric } from '../metrics.ts';
import type { Registry } from '../registry/registry.ts';
import { BlobStore, type StoreLog } from './blob-store.ts';
import { counterMetrics, type MirrorCounters, mirrorCounters } from './counters.ts';
import { Fills } from './fills.ts';
import { OutageGuard } from './outage-guard.ts';
import { MirrorRegistry } from './mirror-registry.ts';
import { Space } from './space.ts';

/** An upstream, with what stands before it. */
export interface Fronted {
  /** Asked each time, unless it is away. */
  readonly guarded: Registry;
  /** That, with a cache before it where one is configured. */
  readonly kept: Registry;
}

/**
 * What stands before upstreams: a guard before each, and a cache before that where one is configured. All caches
 * share the bytes that they may take together, and nothing else: what one upstream says it has must not open
 * what another one really has.
 */
export class Mirrors {
  readonly counters: MirrorCounters = mirrorCounters();
  readonly #config: MirrorConfig;
  readonly #log: StoreLog;
  readonly #lock: DirectoryLock | undefined;
  readonly #space: Space;
  readonly #opened: { readonly store: BlobStore; readonly fills: Fills }[] = [];
  /** Of this process and never written down: what callers are told apart with reveals nothing of them. */
  readonly #key = randomBytes(32);

  private constructor(config: MirrorConfig, log: StoreLog, lock: DirectoryLock | undefined) {
    this.#config = config;
    this.#log = log;
    this.#lock = lock;
    this.#space = new Space(config.maxBytes, () => {
      this.counters.evicted += 1;
    });
  }

  /** @throws {Error} where the directory cannot be used, or another process uses it. */
  static async open(config: MirrorConfig, log: StoreLog): Promise<Mirrors> {
    if (config.maxBytes === 0) return new Mirrors(config, log, undefined);
    await makeDirectory(config.dir, 0o700);
    try {
      return new Mirrors(config, log, await DirectoryLock.take(join(config.dir, 'lock')));
    } catch (cause) {
      const hint = 'give each proxy a directory of its own';
      throw new Error(`mirror.dir ${config.dir} cannot be used; ${hint}`, { cause });
    }
  }

  /** What all caches take on disk now, and how much of that is not in use. */
  get usage(): { readonly usedBytes: number; readonly idleBytes: number } {
    const { usedBytes, idleBytes } = this.#space;
    return { usedBytes, idleBytes };
  }

  /** What is counted, and those two. */
  get metrics(): readonly Metric[] {
    const gauge = (name: string, help: string, value: () => number): Metric => {
      return { name: `starlight_mirror_${name}`, help, type: 'gauge', value };
    };
    return [
      ...counterMetrics(this.counters),
      gauge('used_bytes', 'What all caches take on disk.', () => this.usage.usedBytes),
      gauge('idle_bytes', 'How much of that is not in use.', () => this.usage.idleBytes),
    ];
  }

  /**
   * `registry`, the upstream `key` at `url`, guarded and cached. Two at one URL have a cache each: they may ask with
   * different credentials.
   * @throws where its directory cannot be used.
   */
  async before(key: string, url: string, registry: Registry): Promise<Fronted> {
    const upstream = new URL(url);
    const { counters } = this;
    const common = { key: this.#key, counters, log: this.#log, config: this.#config };
    const guarded = new OutageGuard({ ...common, registry, upstream: upstream.host, nowMs: Date.now });
    if (this.#lock === undefined) return { guarded, kept: guarded };
    // Legible, and different for every upstream.
    const name = `${upstream.hostname.replace(/[^\w.-]/g, '_')}-${digestHex(digestOf(`${key} ${upstream.origin}`)).slice(0, 12)}`;
    const store = await BlobStore.open({
      dir: join(this.#config.dir, name),
      space: this.#space,
      counters,
      log: this.#log,
      nowMs: Date.now,
    });
    const fills = new Fills({ store, space: this.#space, counters });
    this.#opened.push({ store, fills });
    const cached = { ...common, registry: guarded, store, fills, nowMs: () => performance.now() };
    return { guarded, kept: new MirrorRegistry(cached) };
  }

  async close(): Promise<void> {
    for (const { fills } of this.#opened) await fills.close();
    for (const { store } of this.#opened) await store.settled();
    await this.#lock?.release();
  }
}
