import type { Logger } from 'pino';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { ImageMount, RemoteImages } from '../snapshotter/remote-images.ts';
import type { ImageForm, Labels, SnapshotKey, Usage } from '../snapshotter/snapshot.ts';
import type { CompleteForms } from '../complete/complete-forms.ts';
import type { Catalogue } from './catalogue.ts';
import type { LabelPulls } from './label-pulls.ts';
import type { TreeMounts } from './tree-mounts.ts';

export type StarlightImagesParts = {
  readonly catalogue: Catalogue;
  readonly mounts: TreeMounts;
  readonly forms: CompleteForms;
  readonly pulls: LabelPulls;
  /** Whether first opens are recorded, of which only a served tree hears. */
  readonly isTraced: () => boolean;
  /** Hears when a chain has no snapshot any more; it should collect soon, not at once. */
  readonly onReleased: (chainId: ChainId) => void;
  readonly log: Logger;
};

/** The images of the catalogue, as the snapshotter sees them. */
export class StarlightImages implements RemoteImages {
  readonly #parts: StarlightImagesParts;

  constructor(parts: StarlightImagesParts) {
    this.#parts = parts;
  }

  async available(chainId: ChainId, labels: Labels, signal: AbortSignal): Promise<boolean> {
    if (this.#parts.catalogue.findByChain(chainId) !== undefined) return true;
    // The image of the labels may not have this chain after all: then the layer is an ordinary one.
    return (
      (await this.#parts.pulls.begin(labels, signal)) &&
      this.#parts.catalogue.findByChain(chainId) !== undefined
    );
  }

  async mount(
    chainId: ChainId,
    key: SnapshotKey,
    form: ImageForm | undefined,
    signal: AbortSignal,
  ): Promise<ImageMount> {
    const { forms, mounts, log } = this.#parts;
    const wanted = form ?? this.#choose(chainId);
    if (wanted !== 'served') {
      try {
        return await forms.mount(chainId, key, wanted, signal);
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ err: error, chainId, key }, 'the complete form cannot be mounted: the image is served');
      }
    }
    return { form: 'served', lowers: [await mounts.mount(chainId, key, signal)], dataLowers: [] };
  }

  async unmount(chainId: ChainId, key: SnapshotKey): Promise<void> {
    await this.#parts.mounts.unmount(chainId, key);
    await this.#parts.forms.unmount(chainId, key);
  }

  async usage(chainId: ChainId): Promise<Usage> {
    const found = this.#parts.catalogue.findByChain(chainId);
    const layer = found?.image.layers[found.depth - 1];
    return { sizeBytes: layer?.contentBytes ?? 0, inodes: layer?.entries ?? 0 };
  }

  released(chainId: ChainId): void {
    this.#parts.onReleased(chainId);
  }

  /** The form of a new snapshot: complete when it is there, else served, and complete for those to come. */
  #choose(chainId: ChainId): ImageForm {
    const { forms, isTraced } = this.#parts;
    if (isTraced()) return 'served';
    const offered = forms.offer(chainId);
    if (offered === undefined) forms.request(chainId);
    return offered ?? 'served';
  }
}
