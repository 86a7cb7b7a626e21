import { stat } from 'node:fs/promises';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { digestHex, digestOf, isDigest } from '../../schemas/oci/digest.ts';
import type { Clock } from './clock.ts';
import type { Owner, SnapshotDirectories } from './directories.ts';
import { diskUsage } from './disk-usage.ts';
import { parseFilters } from './filter.ts';
import { KeyLock } from '../../schemas/concurrency/key-lock.ts';
import { updateLabels } from './labels.ts';
import type { Log } from './log.ts';
import { type Ancestry, assertKind, type Metadata } from './metadata.ts';
import { mountsOf } from './overlay-mounts.ts';
import type { ImageMount, RemoteImages } from './remote-images.ts';
import {
  type ImageForm,
  type Labels,
  type Mount,
  SNAPSHOT_REF_LABEL,
  type SnapshotInfo,
  type SnapshotKey,
} from './snapshot.ts';
import type { Usage } from './snapshot.ts';
import { SnapshotterError } from './snapshotter-error.ts';
import type { Trash } from './trash.ts';

/** Trees mounted at the same time by `ensureMounts`. */
const MOUNTS_IN_FLIGHT = 4;

const NO_ANCESTRY: Ancestry = { localIds: [], remote: undefined, hasMetacopy: false };

/**
 * containerd shortens lower directories that are more than a page of options, but not when there are data-only
 * ones among them (mount_linux.go, compactLowerdirOption): so many bytes of local layers, and the image is served.
 */
const COMPLETE_LOWERS_MAX_BYTES = 3000;

/** What a new snapshot is mounted over. */
type Below = {
  readonly lowers: readonly string[];
  readonly dataLowers: readonly string[];
  readonly metacopy: boolean;
  readonly form: ImageForm | undefined;
};

export type SnapshotterParts = {
  readonly metadata: Metadata;
  readonly directories: SnapshotDirectories;
  readonly trash: Trash;
  readonly remoteImages: RemoteImages;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether this kernel's overlayfs knows the option `index`. */
  readonly hasIndex: boolean;
};

export type CreateRequest = {
  readonly key: SnapshotKey;
  readonly parent: SnapshotKey | undefined;
  readonly labels: Labels;
};

export type CommitRequest = CreateRequest & { readonly name: SnapshotKey };

/** How `ensureMounts` went: snapshots whose trees are mounted, and those whose could not be. */
export type EnsuredMounts = { readonly mounted: number; readonly failed: readonly SnapshotKey[] };

/**
 * containerd's snapshotter over overlayfs, with the layers of Starlight images taken from their merged trees.
 * Everything it refuses is a SnapshotterError. Operations on the same key run one after the other.
 */
export class Snapshotter {
  readonly #parts: SnapshotterParts;
  readonly #locks = new KeyLock();
  readonly #background = new Set<Promise<void>>();

  constructor(parts: SnapshotterParts) {
    this.#parts = parts;
  }

  /**
   * Makes a writable snapshot over `parent` and returns its mounts. With the label
   * `containerd.io/snapshot.ref` naming a chainID that is at hand, makes a committed remote snapshot instead and
   * reports already-exists, by which containerd knows that there is nothing to unpack (it then looks for a
   * committed snapshot with this label and this parent).
   *
   * @throws {SnapshotterError} already-exists, not-found (parent), invalid-argument (parent is not committed)
   */
  prepare(request: CreateRequest, signal: AbortSignal): Promise<readonly Mount[]> {
    return this.#locks.run([request.key], async () => {
      const claimed = await this.#claim(request, signal);
      if (claimed !== undefined) {
        throw new SnapshotterError('already-exists', `target snapshot ${claimed} already exists`);
      }
      return this.#create('active', request, signal);
    });
  }

  /** Makes a read-only snapshot over `parent` and returns its mounts. Throws what `prepare` throws. */
  view(request: CreateRequest, signal: AbortSignal): Promise<readonly Mount[]> {
    return this.#locks.run([request.key], () => this.#create('view', request, signal));
  }

  /**
   * The mounts of an active snapshot or view, as when it was made.
   *
   * @throws {SnapshotterError} not-found, failed-precondition (committed)
   */
  mounts(key: SnapshotKey, signal: AbortSignal): Promise<readonly Mount[]> {
    return this.#locks.run([key], async () => {
      const info = this.#parts.metadata.get(key);
      assertKind(info, 'active', 'view');
      return this.#mountsOf(
        info,
        await this.#below(this.#ancestry(info.parent), key, info.form ?? 'served', signal),
      );
    });
  }

  /**
   * Makes the active snapshot `key` the committed one `name`. Labels are replaced; `parent` is taken when the
   * active snapshot was made without.
   *
   * @throws {SnapshotterError} not-found, already-exists (name), failed-precondition (not active),
   *   invalid-argument (another parent)
   */
  commit(request: CommitRequest, signal: AbortSignal): Promise<void> {
    const { metadata, directories, clock } = this.#parts;
    const { key, name, labels, parent } = request;
    return this.#locks.run([key, name], async () => {
      const active = metadata.get(key);
      assertKind(active, 'active');
      const usage = await diskUsage(directories.upper(active.id), signal);
      metadata.commit({ key, name, labels, parent, usage, nowNs: clock() });
      await this.#unmount(this.#ancestry(active.parent).remote, key);
    });
  }

  /**
   * Removes a snapshot. Its directory is deleted afterwards, in the background.
   *
   * @throws {SnapshotterError} not-found, failed-precondition (it has children)
   */
  remove(key: SnapshotKey): Promise<void> {
    return this.#locks.run([key], async () => {
      const removed = this.#parts.metadata.remove(key);
      const { remote } = this.#ancestry(removed.parent);
      if (removed.source.kind === 'remote') {
        this.#release(removed.source.chainId);
        return;
      }
      this.#parts.directories.discard(removed.id);
      if (removed.kind !== 'committed') await this.#unmount(remote, key);
    });
  }

  /** @throws {SnapshotterError} not-found */
  stat(key: SnapshotKey): SnapshotInfo {
    return this.#parts.metadata.get(key);
  }

  /**
   * Changes what can be changed, the labels, by containerd's field paths (labels.ts).
   *
   * @throws {SnapshotterError} not-found, invalid-argument (another field, or labels too large)
   */
  update(key: SnapshotKey, labels: Labels, fieldPaths: readonly string[]): SnapshotInfo {
    const { metadata, clock } = this.#parts;
    return metadata.setLabels(key, (current) => updateLabels(current, labels, fieldPaths), clock());
  }

  /**
   * The snapshots that pass any of `filters` (filter.ts), in the order in which they were made, read as they
   * are taken.
   *
   * @throws {SnapshotterError} invalid-argument, before the first
   */
  list(filters: readonly string[]): Iterable<SnapshotInfo> {
    const passes = parseFilters(filters);
    return this.#parts.metadata.list().filter(passes);
  }

  /**
   * What a snapshot adds to its parent: counted now for an active one, when it was committed for a committed one.
   *
   * @throws {SnapshotterError} not-found
   */
  async usage(key: SnapshotKey, signal: AbortSignal): Promise<Usage> {
    const { metadata, directories, remoteImages } = this.#parts;
    const info = metadata.get(key);
    if (info.source.kind === 'remote') return remoteImages.usage(info.source.chainId);
    return info.kind === 'active' ? diskUsage(directories.upper(info.id), signal) : metadata.usage(key);
  }

  /** Hands directories of no snapshot to the background deletion. */
  async cleanup(): Promise<void> {
    const { directories, metadata, log } = this.#parts;
    const strays = await directories.discardStrays(() => metadata.ids());
    if (strays > 0) log.info({ strays }, 'discarded directories of no snapshot');
  }

  /**
   * Mounts the trees that existing snapshots need: to be called once after a start, before requests are served.
   * A tree that cannot be mounted is logged and tried again when its mounts are asked for.
   */
  async ensureMounts(signal: AbortSignal): Promise<EnsuredMounts> {
    const { metadata, remoteImages, log } = this.#parts;
    const waiting = metadata.list().filter((info) => info.kind !== 'committed');
    const failed: SnapshotKey[] = [];
    let mounted = 0;
    const worker = async (): Promise<void> => {
      for (const { key } of waiting) {
        signal.throwIfAborted();
        await this.#locks
          .run([key], async () => {
            const info = metadata.find(key);
            if (info === undefined || info.kind === 'committed') return;
            const { remote } = this.#ancestry(info.parent);
            if (remote === undefined) return;
            await remoteImages.mount(remote, key, info.form ?? 'served', signal);
            mounted += 1;
          })
          .catch((error: unknown) => {
            log.error({ err: error, key }, 'cannot mount the image of a snapshot');
            failed.push(key);
          });
      }
    };
    // the workers share one iterator: each takes the next snapshot
    await Promise.all(Array.from({ length: MOUNTS_IN_FLIGHT }, worker));
    return { mounted, failed };
  }

  /** Resolves when nothing is left to be done in the background. */
  async drained(): Promise<void> {
    await Promise.all(this.#background);
    await this.#parts.trash.drained();
  }

  /** Ends after the operations under way; deletions stop and go on at the next start. May be called again. */
  async close(): Promise<void> {
    await this.#locks.settled();
    await Promise.all(this.#background);
    await this.#parts.trash.close();
    this.#parts.metadata.close();
  }

  /** The name of the committed remote snapshot that answers the request, which may be made for it. */
  async #claim(request: CreateRequest, signal: AbortSignal): Promise<SnapshotKey | undefined> {
    const { metadata, remoteImages, clock } = this.#parts;
    const { labels, parent } = request;
    const chainId = Object.hasOwn(labels, SNAPSHOT_REF_LABEL) ? labels[SNAPSHOT_REF_LABEL] : undefined;
    if (!isChainId(chainId)) return undefined;
    // asked although there may be a record, because the image may be gone since
    if (!(await remoteImages.available(chainId, labels, signal))) return undefined;
    const present = metadata.findRemote(chainId, parent);
    if (present !== undefined) return present.key;
    const key = this.#remoteKey(chainId, parent);
    return metadata.insert({ kind: 'remote', chainId, key, parent, labels, nowNs: clock() }).key;
  }

  /** The chainID itself; another name where it is taken by the same layers over a different parent. */
  #remoteKey(chainId: ChainId, parent: SnapshotKey | undefined): SnapshotKey {
    const plain = chainId as string as SnapshotKey; // a digest is a well-formed key
    if (this.#parts.metadata.find(plain) === undefined) return plain;
    return `${plain}-over-${digestHex(digestOf(parent ?? '')).slice(0, 16)}` as SnapshotKey;
  }

  async #create(
    kind: 'active' | 'view',
    request: CreateRequest,
    signal: AbortSignal,
  ): Promise<readonly Mount[]> {
    const { metadata, directories, clock } = this.#parts;
    const { key, parent, labels } = request;
    // first, because the mount below counts a reference of this key
    if (metadata.find(key) !== undefined) {
      throw new SnapshotterError('already-exists', `snapshot ${key} already exists`);
    }
    const ancestry = this.#ancestry(parent);
    try {
      const below = await this.#below(ancestry, key, undefined, signal);
      const owner = await ownerOf(below.lowers[0]);
      const { form } = below;
      const info = await directories.create(kind, owner, (place) =>
        metadata.insert({ kind, key, parent, labels, form, nowNs: clock() }, place),
      );
      return this.#mountsOf(info, below);
    } catch (error) {
      await this.#unmount(ancestry.remote, key);
      throw error;
    }
  }

  #mountsOf(info: SnapshotInfo, below: Below): readonly Mount[] {
    const { directories, hasIndex } = this.#parts;
    const { id, kind, key } = info;
    if (kind === 'committed') {
      throw new SnapshotterError('failed-precondition', `snapshot ${key} is committed, not active or view`);
    }
    return mountsOf({ ...below, kind, upper: directories.upper(id), work: directories.work(id), hasIndex });
  }

  /** The trees of `parent` and below. @throws {SnapshotterError} not-found */
  #ancestry(parent: SnapshotKey | undefined): Ancestry {
    return parent === undefined ? NO_ANCESTRY : this.#parts.metadata.ancestry(parent);
  }

  /**
   * The directories of those trees; a remote one is mounted for `key`.
   * @param recorded the form of a snapshot that exists, undefined for a new one
   */
  async #below(
    ancestry: Ancestry,
    key: SnapshotKey,
    recorded: ImageForm | undefined,
    signal: AbortSignal,
  ): Promise<Below> {
    const { directories, remoteImages } = this.#parts;
    const { remote, hasMetacopy } = ancestry;
    const locals = ancestry.localIds.map((id) => directories.upper(id));
    if (remote === undefined)
      return { lowers: locals, dataLowers: [], metacopy: hasMetacopy, form: undefined };
    const isLong = locals.join(':').length > COMPLETE_LOWERS_MAX_BYTES;
    const image: ImageMount = await remoteImages.mount(
      remote,
      key,
      recorded ?? (isLong ? 'served' : undefined),
      signal,
    );
    const { form, dataLowers } = image;
    const metacopy = [form, recorded].includes('complete-metacopy') || hasMetacopy;
    return { lowers: [...locals, ...image.lowers], dataLowers, metacopy, form };
  }

  /** The snapshot is gone or was never made, so a failure here is logged only. */
  async #unmount(remote: ChainId | undefined, key: SnapshotKey): Promise<void> {
    if (remote === undefined) return;
    try {
      await this.#parts.remoteImages.unmount(remote, key);
    } catch (error) {
      this.#parts.log.warn({ err: error, key }, 'cannot release the image of a snapshot');
    }
  }

  #release(chainId: ChainId): void {
    const { metadata, remoteImages, log } = this.#parts;
    if (metadata.countRemote(chainId) > 0) return;
    const task = (async () => remoteImages.released(chainId))()
      .catch((error: unknown) => log.warn({ err: error, chainId }, 'cannot release an image'))
      .finally(() => this.#background.delete(task));
    this.#background.add(task);
  }
}

/** The owner of the parent's root, which the root of the new snapshot takes as with containerd's overlayfs. */
async function ownerOf(nearest: string | undefined): Promise<Owner | undefined> {
  return nearest === undefined ? undefined : stat(nearest);
}

function isChainId(text: string | undefined): text is ChainId {
  return isDigest(text); // a chainID is a digest; which one it is, only the images know
}
