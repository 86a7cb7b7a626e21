import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { RemoteImages } from '../snapshotter/remote-images.ts';
import type { Labels, SnapshotKey, Usage } from '../snapshotter/snapshot.ts';
import type { Catalogue } from './catalogue.ts';
import type { LabelPulls } from './label-pulls.ts';
import type { TreeMounts } from './tree-mounts.ts';

/** The images of the catalogue, as the snapshotter sees them. */
export class StarlightImages implements RemoteImages {
  readonly #catalogue: Catalogue;
  readonly #mounts: TreeMounts;
  readonly #pulls: LabelPulls;
  readonly #onReleased: (chainId: ChainId) => void;

  /** @param onReleased hears when a chain has no snapshot any more; it should collect soon, not at once. */
  constructor(
    catalogue: Catalogue,
    mounts: TreeMounts,
    pulls: LabelPulls,
    onReleased: (chainId: ChainId) => void,
  ) {
    this.#catalogue = catalogue;
    this.#mounts = mounts;
    this.#pulls = pulls;
    this.#onReleased = onReleased;
  }

  async available(chainId: ChainId, labels: Labels, signal: AbortSignal): Promise<boolean> {
    if (this.#catalogue.findByChain(chainId) !== undefined) return true;
    // The image of the labels may not have this chain after all: then the layer is an ordinary one.
    return (await this.#pulls.begin(labels, signal)) && this.#catalogue.findByChain(chainId) !== undefined;
  }

  async mount(chainId: ChainId, key: SnapshotKey, signal: AbortSignal): Promise<readonly string[]> {
    return [await this.#mounts.mount(chainId, key, signal)];
  }

  unmount(chainId: ChainId, key: SnapshotKey): Promise<void> {
    return this.#mounts.unmount(chainId, key);
  }

  async usage(chainId: ChainId): Promise<Usage> {
    const found = this.#catalogue.findByChain(chainId);
    const layer = found?.image.layers[found.depth - 1];
    return { sizeBytes: layer?.contentBytes ?? 0, inodes: layer?.entries ?? 0 };
  }

  released(chainId: ChainId): void {
    this.#onReleased(chainId);
  }
}
