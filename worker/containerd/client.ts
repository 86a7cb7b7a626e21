import { Metadata } from '@grpc/grpc-js';
import {
  type ContentInfoMessage,
  contentService,
  type DescriptorMessage,
  type ImageMessage,
  imagesService,
  type LeaseResourceMessage,
  leasesService,
  type WriteContentMessage,
} from '../../schemas/proto/containerd.ts';
import { type InfoResponse, snapshotsService } from '../../schemas/proto/snapshots.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { isContainerdError } from './containerd-error.ts';
import { Rpc, type RpcOptions } from './rpc.ts';

export type Labels = Readonly<Record<string, string>>;

/** In which namespace and under which lease a call is made. */
export type Scope = { readonly namespace: string; readonly lease?: string };

/** containerd, as far as the worker needs it: one method per request that it makes. */
export class ContainerdClient {
  readonly #rpc: Rpc;

  constructor(options: RpcOptions) {
    this.#rpc = new Rpc(options);
  }

  close(): void {
    this.#rpc.close();
  }

  /** Whether containerd answers; asked once, without trying again. @throws {ContainerdError} `unavailable`. */
  async ping(signal: AbortSignal): Promise<void> {
    const filters = ['id==none'];
    await this.#rpc.unary(
      leasesService,
      'List',
      { filters },
      metadataOf({ namespace: 'default' }),
      signal,
      0,
    );
  }

  /** What is made under the lease is kept until it is deleted, at the latest until `expires`. */
  async createLease(namespace: string, id: string, expires: Date, signal: AbortSignal): Promise<void> {
    const labels = { 'containerd.io/gc.expire': expires.toISOString() };
    await this.#rpc.unary(leasesService, 'Create', { id, labels }, metadataOf({ namespace }), signal);
  }

  /**
   * Does nothing when the lease is gone already.
   *
   * @param then `collect` to have containerd collect what nothing refers to before it answers.
   */
  async deleteLease(namespace: string, id: string, signal: AbortSignal, then?: 'collect'): Promise<void> {
    const request = { id, sync: then === 'collect' };
    try {
      await this.#rpc.unary(leasesService, 'Delete', request, metadataOf({ namespace }), signal);
    } catch (error) {
      if (!isContainerdError(error, 'not-found')) throw error;
    }
  }

  async addToLease(
    namespace: string,
    id: string,
    resource: LeaseResourceMessage,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#rpc.unary(leasesService, 'AddResource', { id, resource }, metadataOf({ namespace }), signal);
  }

  /** Writes a small blob with its labels; where it exists already, the labels are added to those it has. */
  async writeBlob(
    scope: Scope,
    digest: Digest,
    bytes: Uint8Array,
    labels: Labels,
    signal: AbortSignal,
  ): Promise<void> {
    const message: WriteContentMessage = {
      action: 'COMMIT',
      ref: `starlight-${digest}`,
      total: String(bytes.byteLength),
      expected: digest,
      offset: '0',
      data: bytes,
      labels,
    };
    try {
      await this.#rpc.exchange(contentService, 'Write', message, metadataOf(scope), signal);
    } catch (error) {
      if (!isContainerdError(error, 'already-exists')) throw error;
      await this.labelBlob(scope, digest, labels, signal);
    }
  }

  async labelBlob(scope: Scope, digest: Digest, labels: Labels, signal: AbortSignal): Promise<void> {
    const paths = Object.keys(labels).map((name) => `labels.${name}`);
    if (paths.length === 0) return;
    const info: ContentInfoMessage = { digest, size: '0', labels };
    await this.#rpc.unary(
      contentService,
      'Update',
      { info, update_mask: { paths } },
      metadataOf(scope),
      signal,
    );
  }

  /** Makes the image `name` point to `target`, whether or not it exists; its labels stay. */
  async putImage(scope: Scope, name: string, target: DescriptorMessage, signal: AbortSignal): Promise<void> {
    const image: ImageMessage = { name, labels: {}, target };
    try {
      await this.#rpc.unary(imagesService, 'Create', { image }, metadataOf(scope), signal);
    } catch (error) {
      if (!isContainerdError(error, 'already-exists')) throw error;
      const request = { image, update_mask: { paths: ['target'] } };
      await this.#rpc.unary(imagesService, 'Update', request, metadataOf(scope), signal);
    }
  }

  async getImage(scope: Scope, name: string, signal: AbortSignal): Promise<ImageMessage | undefined> {
    try {
      const answer = await this.#rpc.unary<object, { image: ImageMessage | null }>(
        imagesService,
        'Get',
        { name },
        metadataOf(scope),
        signal,
      );
      return answer.image ?? undefined;
    } catch (error) {
      if (isContainerdError(error, 'not-found')) return undefined;
      throw error;
    }
  }

  async hasSnapshot(scope: Scope, snapshotter: string, key: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.#rpc.unary<object, InfoResponse>(
        snapshotsService,
        'Stat',
        { snapshotter, key },
        metadataOf(scope),
        signal,
      );
      return true;
    } catch (error) {
      if (isContainerdError(error, 'not-found')) return false;
      throw error;
    }
  }

  /**
   * Asks for the layer `chainId` above `parent` as containerd's own unpacker does for a remote snapshotter.
   * @returns `taken` when the snapshotter has it (and it now exists), `local` when it wants it unpacked; then
   * there is an active snapshot under `key`, to be removed.
   */
  async prepareRemote(
    scope: Scope,
    snapshotter: string,
    key: string,
    parent: ChainId | undefined,
    chainId: ChainId,
    signal: AbortSignal,
  ): Promise<'taken' | 'local'> {
    const labels = { 'containerd.io/snapshot.ref': chainId };
    const request = { snapshotter, key, parent: parent ?? '', labels };
    try {
      await this.#rpc.unary(snapshotsService, 'Prepare', request, metadataOf(scope), signal);
      return 'local';
    } catch (error) {
      if (isContainerdError(error, 'already-exists')) return 'taken';
      throw error;
    }
  }

  /** Makes an empty active snapshot. */
  async prepareSnapshot(scope: Scope, snapshotter: string, key: string, signal: AbortSignal): Promise<void> {
    const request = { snapshotter, key, parent: '', labels: {} };
    await this.#rpc.unary(snapshotsService, 'Prepare', request, metadataOf(scope), signal);
  }

  async removeSnapshot(scope: Scope, snapshotter: string, key: string, signal: AbortSignal): Promise<void> {
    await this.#rpc.unary(snapshotsService, 'Remove', { snapshotter, key }, metadataOf(scope), signal);
  }
}

function metadataOf(scope: Scope): Metadata {
  const metadata = new Metadata();
  metadata.set('containerd-namespace', scope.namespace);
  if (scope.lease !== undefined) metadata.set('containerd-lease', scope.lease);
  return metadata;
}
