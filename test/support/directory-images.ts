import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { ImageMount, RemoteImages } from '../../worker/snapshotter/remote-images.ts';
import type { ImageForm, Labels, SnapshotKey, Usage } from '../../worker/snapshotter/snapshot.ts';

/**
 * Remote images whose merged trees are plain directories: what a file system would mount is there already. It
 * keeps the books that the snapshotter's contract asks for, for tests to look at.
 */
export class DirectoryImages implements RemoteImages {
  /** The trees at hand, nearest directory first. */
  readonly trees = new Map<ChainId, readonly string[]>();
  /** Which snapshots hold which tree, `chainID key`. */
  readonly references = new Set<string>();
  readonly releasedChains: ChainId[] = [];
  readonly asked: { readonly chainId: ChainId; readonly labels: Labels }[] = [];
  /** The form of what is mounted from now on, with the data-only layers of a complete one. */
  form: ImageForm = 'served';
  dataLowers: readonly string[] = [];
  /** Which form each `mount` asked for. */
  readonly forms: (ImageForm | undefined)[] = [];
  /** Thrown by the next `mount`s. */
  mountFailure: Error | undefined;
  /** What releasing waits for. */
  releasing: Promise<void> = Promise.resolve();

  async available(chainId: ChainId, labels: Labels, _signal: AbortSignal): Promise<boolean> {
    this.asked.push({ chainId, labels });
    return this.trees.has(chainId);
  }

  async mount(
    chainId: ChainId,
    key: SnapshotKey,
    form: ImageForm | undefined,
    signal: AbortSignal,
  ): Promise<ImageMount> {
    signal.throwIfAborted();
    if (this.mountFailure !== undefined) throw this.mountFailure;
    const tree = this.trees.get(chainId);
    if (tree === undefined) throw new Error(`no tree for ${chainId}`);
    this.references.add(`${chainId} ${key}`);
    this.forms.push(form);
    const given = form ?? this.form;
    return { form: given, lowers: tree, dataLowers: given === 'served' ? [] : this.dataLowers };
  }

  async unmount(chainId: ChainId, key: SnapshotKey): Promise<void> {
    this.references.delete(`${chainId} ${key}`);
  }

  async usage(chainId: ChainId): Promise<Usage> {
    return { sizeBytes: 1000 + (this.trees.get(chainId)?.length ?? 0), inodes: 7 };
  }

  async released(chainId: ChainId): Promise<void> {
    await this.releasing;
    this.releasedChains.push(chainId);
  }
}
