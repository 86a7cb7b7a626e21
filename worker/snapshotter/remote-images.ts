import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { ImageForm, Labels, SnapshotKey, Usage } from './snapshot.ts';

/** A mounted image, as layers of an overlay. Paths are absolute, without `:` and `,`. */
export type ImageMount = {
  readonly form: ImageForm;
  /** The root directories, nearest first, at least one. */
  readonly lowers: readonly string[];
  /** Data-only layers below them, by which a complete form finds its contents; none for a served one. */
  readonly dataLowers: readonly string[];
};

/**
 * The images whose contents arrive (or have arrived) through Starlight, as the snapshotter needs them. A chainID
 * stands for the merged tree of all layers up to it.
 */
export interface RemoteImages {
  /**
   * True when `chainId` belongs to an image whose metadata is at hand, so that its tree can be mounted. Asked by
   * Prepare when containerd names the layer that it is about to unpack; `labels` are those of Prepare (the
   * CRI's included), so an implementation may begin a pull by itself. False makes containerd unpack the layer
   * in the ordinary way; a throw fails the pull.
   */
  available(chainId: ChainId, labels: Labels, signal: AbortSignal): Promise<boolean>;

  /**
   * Mounts the read-only tree of `chainId` unless it is mounted, and notes that `key` needs it. `form` is that of
   * an existing snapshot; undefined leaves the choice. What cannot be had complete any more is served instead,
   * which an upper directory bears in any case; never the other way round. Called again for the same key it
   * returns the same and counts nothing twice; so it is after a restart of the daemon, for each snapshot that
   * exists.
   */
  mount(
    chainId: ChainId,
    key: SnapshotKey,
    form: ImageForm | undefined,
    signal: AbortSignal,
  ): Promise<ImageMount>;

  /**
   * `key` needs the tree no more; the last one that goes takes the mount with it. Does nothing when `key` holds
   * no reference. The key may come back later as another snapshot.
   */
  unmount(chainId: ChainId, key: SnapshotKey): Promise<void>;

  /** What the layer `chainId` adds on disk to the layers below it. */
  usage(chainId: ChainId): Promise<Usage>;

  /**
   * The last committed snapshot of `chainId` was removed: its contents may be collected. It may be asked for
   * again afterwards, by `available`.
   */
  released(chainId: ChainId): void | Promise<void>;
}

/** A worker without Starlight images: every image is an ordinary one. */
export const NO_REMOTE_IMAGES: RemoteImages = {
  available: async () => false,
  mount: async (chainId) => {
    throw new Error(`no image has ${chainId}: this worker keeps ordinary images only`);
  },
  unmount: async () => {},
  usage: async () => ({ sizeBytes: 0, inodes: 0 }),
  released: () => {},
};
