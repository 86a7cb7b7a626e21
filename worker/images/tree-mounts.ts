import { mkdir, readdir, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { KeyLock } from '../../schemas/concurrency/key-lock.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { digestHex, isDigest } from '../../schemas/oci/digest.ts';
import { isMissing } from '../../schemas/process/system-error.ts';
import type { FileSystemDriver, MountedTree, MountOptions } from '../filesystem/driver.ts';
import type { SnapshotKey } from '../snapshotter/snapshot.ts';
import type { ContentStore } from '../store/content-store.ts';
import type { Catalogue } from './catalogue.ts';
import type { ContentDemand, TraceSink } from './content-demand.ts';
import type { Image } from './image.ts';
import type { TableCache } from './trees.ts';

type Held = { readonly mounted: MountedTree; readonly image: Image; readonly keys: Set<SnapshotKey> };

export type TreeMountsDeps = {
  readonly root: string;
  readonly catalogue: Catalogue;
  readonly tables: TableCache;
  readonly store: ContentStore;
  readonly driver: FileSystemDriver;
  readonly demand: ContentDemand;
  readonly traces: TraceSink;
  readonly waitLimitMs: number;
  readonly log: Logger;
};

/** Holds what nobody needs for the moment in which it is taken away. */
const SWEEP_KEY = 'sweep' as SnapshotKey; // containerd's keys have its namespace in front

/** An image that a snapshot needs and that the catalogue does not know. */
export class UnknownChainError extends Error {
  constructor(chainId: ChainId) {
    super(`no image here has the layers ${chainId}: pull it again`);
    this.name = 'UnknownChainError';
  }
}

/** The mounted trees, `mounts/<chain hex>` under the root, each as long as a snapshot needs it. */
export class TreeMounts {
  readonly #deps: TreeMountsDeps;
  readonly #lock = new KeyLock();
  readonly #held = new Map<ChainId, Held>();

  constructor(deps: TreeMountsDeps) {
    this.#deps = deps;
  }

  /** The directory where the tree of `chainId` is mounted; mounts it when this is the first key. */
  async mount(chainId: ChainId, key: SnapshotKey, signal: AbortSignal): Promise<string> {
    return this.#lock.run([chainId], async () => {
      const held = this.#held.get(chainId) ?? (await this.#mount(chainId, signal));
      held.keys.add(key);
      return held.mounted.mountpoint;
    });
  }

  async unmount(chainId: ChainId, key: SnapshotKey): Promise<void> {
    await this.#lock.run([chainId], async () => {
      const held = this.#held.get(chainId);
      if (held === undefined || !held.keys.delete(key) || held.keys.size > 0) return;
      this.#held.delete(chainId);
      await held.mounted.unmount();
      await rmdir(held.mounted.mountpoint).catch((error: unknown) => {
        this.#deps.log.warn({ err: error }, 'the directory of an unmounted tree stays behind');
      });
    });
  }

  /** Takes away what an earlier daemon left mounted and no snapshot needs; after those that are needed are mounted. */
  async sweep(signal: AbortSignal): Promise<void> {
    const { root, log } = this.#deps;
    const names = await readdir(join(root, 'mounts')).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    });
    for (const name of names) {
      const chainId = `sha256:${name}`;
      if (!isDigest(chainId) || this.#held.has(chainId as ChainId)) continue; // the directories are of chains
      try {
        await this.mount(chainId as ChainId, SWEEP_KEY, signal);
        await this.unmount(chainId as ChainId, SWEEP_KEY);
      } catch (error) {
        log.warn({ err: error, chainId }, 'a mount of an earlier daemon cannot be taken away');
      }
    }
  }

  /** Which of the image's layers are mounted, and how busy they are. */
  isMounted(image: Image): boolean {
    return image.layers.some((layer) => this.#held.has(layer.chainId));
  }

  /** Those whose trees are mounted. */
  get chains(): Iterable<ChainId> {
    return this.#held.keys();
  }

  get size(): number {
    return this.#held.size;
  }

  /** Lets every trace that is under way begin anew with the next open. */
  restartTraces(): void {
    for (const held of this.#held.values()) held.mounted.restartTrace();
  }

  async #mount(chainId: ChainId, signal: AbortSignal): Promise<Held> {
    const { root, catalogue, tables, driver, store, demand, traces, waitLimitMs, log } = this.#deps;
    const found = catalogue.findByChain(chainId);
    if (found === undefined) throw new UnknownChainError(chainId);
    const { image, depth } = found;
    const loaded = await tables.load(image.tocDigest);
    const tree = loaded.tree(depth);
    const mountpoint = join(root, 'mounts', digestHex(chainId));
    let record: ((path: Uint8Array) => void) | undefined;
    const contents = {
      directory: store.directory,
      // `loaded` is held by this closure, so that the tables stay in memory while the tree is mounted.
      want: (digest: Parameters<ContentDemand['want']>[1], waiting: AbortSignal) =>
        demand.want(image, digest, waiting).finally(() => void loaded),
    };
    const options: MountOptions = {
      waitLimitMs,
      log,
      onOpen: (inode) => {
        record ??= traces.begin(image);
        record?.(tree.firstPath(inode));
      },
    };
    await mkdir(dirname(mountpoint), { recursive: true, mode: 0o700 });
    const resumed = await driver.resume(tree, mountpoint, contents, options, signal);
    // Not before: a dead mount there answers nothing but ENOTCONN.
    if (resumed === undefined) await mkdir(mountpoint, { recursive: true, mode: 0o700 });
    const mounted = resumed ?? (await driver.mount(tree, mountpoint, contents, options, signal));
    const held: Held = { mounted, image, keys: new Set() };
    this.#held.set(chainId, held);
    const how = resumed === undefined ? 'mounted' : 'resumed';
    log.info({ chainId, depth, inodes: tree.inodeCount, driver: mounted.driver }, `a tree is ${how}`);
    void mounted.closed.then(() => {
      if (this.#held.get(chainId) !== held) return;
      this.#held.delete(chainId);
      log.warn({ chainId }, 'a mounted tree was taken away from outside');
    });
    return held;
  }
}
