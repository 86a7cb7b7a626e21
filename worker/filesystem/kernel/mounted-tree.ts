import { closeSync } from 'node:fs';
import type { Tree, TreeBuffers } from '../../../schemas/toc/tree.ts';
import { ContentWaits } from '../content-waits.ts';
import type { ContentSource, MountedTree, MountOptions, MountStats } from '../driver.ts';
import { FileSystemError } from '../error.ts';
import { OpenTrace } from '../open-trace.ts';
import type { DescriptorHolder } from './descriptor-holder.ts';
import type { MountId, Report } from './messages.ts';
import type { ResponderHandle } from './responder-handle.ts';
import { MNT_DETACH, SystemCallError, unmount } from './system-calls.ts';

/** What a mount is made of. */
export interface KernelMount {
  readonly tree: Tree;
  /** The tree's columns in shared memory. */
  readonly buffers: TreeBuffers;
  readonly mountpoint: string;
  readonly contents: ContentSource;
  readonly options: MountOptions;
  /** Owned by the mounted tree from now on, which closes it. */
  readonly fd: number;
  readonly adopted: boolean;
  /** Who keeps a copy of the descriptor, to be let go when the tree is unmounted. */
  readonly holder: DescriptorHolder | undefined;
}

/** The main thread's side of one mounted tree: waits for contents, hears of opens, takes it away. */
export class KernelMountedTree implements MountedTree {
  readonly driver = 'kernel';
  readonly mountpoint: string;
  /** Fulfils when the kernel has been answered for the first time; rejects when that will not happen. */
  readonly ready: Promise<void>;
  readonly closed: Promise<void>;
  readonly #mount: KernelMount;
  readonly #responder: ResponderHandle;
  readonly #id: MountId;
  readonly #trace: OpenTrace;
  readonly #waits: ContentWaits;
  /** Who waits, by the unique of the request, to be called off. */
  readonly #waiters = new Map<bigint, AbortController>();
  readonly #readied = Promise.withResolvers<void>();
  readonly #gone = Promise.withResolvers<void>();
  #unmounting: Promise<void> | undefined;

  constructor(mount: KernelMount, responder: ResponderHandle) {
    this.#mount = mount;
    this.mountpoint = mount.mountpoint;
    this.#responder = responder;
    this.#trace = new OpenTrace(mount.tree.inodeCount);
    const { log } = mount.options;
    this.#waits = new ContentWaits(mount.contents, mount.options.waitLimitMs, (digest, error) =>
      log.warn({ mountpoint: this.mountpoint, digest, error }, 'a content is given up: EIO to who waits'),
    );
    this.ready = this.#readied.promise;
    this.closed = this.#gone.promise;
    this.#id = responder.register((report) => this.#hear(report));
    responder.tell({
      type: 'add',
      mount: this.#id,
      fd: mount.fd,
      tree: mount.buffers,
      directory: mount.contents.directory,
      trace: this.#trace.buffer,
      adopted: mount.adopted,
    });
  }

  /** The /dev/fuse descriptor, to be held by another process so that the mount outlives this one. */
  get descriptor(): number {
    return this.#mount.fd;
  }

  stats(): MountStats {
    return this.#waits.stats();
  }

  restartTrace(): void {
    this.#trace.restart();
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#responder.during(this.#unmount());
    return this.#unmounting;
  }

  /**
   * Stops answering and gives the descriptor up without unmounting: requests wait in the kernel until
   * another process that holds the descriptor adopts it. Without a holder this ends the mount.
   */
  async abandon(): Promise<void> {
    // The removal goes first, so that no wait that ends now is answered with EIO.
    this.#responder.tell({ type: 'remove', mount: this.#id });
    await this.#responder.during(this.closed);
  }

  async #unmount(): Promise<void> {
    this.#waits.close();
    let failure: unknown;
    try {
      await unmount(this.mountpoint, MNT_DETACH);
    } catch (error) {
      failure = error;
    }
    // Closing the descriptor ends the connection for those, too, who still hold files of the tree.
    this.#responder.tell({ type: 'remove', mount: this.#id });
    await this.closed;
    await this.#mount.holder?.release(this.mountpoint);
    if (failure === undefined) return;
    const errno = failure instanceof SystemCallError ? { errno: failure.errno } : {};
    throw new FileSystemError(
      { kind: 'unmount-failed', mountpoint: this.mountpoint, ...errno },
      { cause: failure },
    );
  }

  #hear(report: Report): void {
    switch (report.type) {
      case 'ready':
        this.#readied.resolve();
        return;
      case 'want':
        void this.#serve(report.unique, report.content);
        return;
      case 'leave':
        this.#waiters.get(report.unique)?.abort();
        return;
      case 'opened':
        this.#mount.options.onOpen?.(report.inode);
        return;
      case 'fault':
        this.#mount.options.log.error({ mountpoint: this.mountpoint, reason: report.message }, 'file system');
        return;
      case 'gone':
        this.#finish();
        return;
      default:
        report satisfies never;
    }
  }

  async #serve(unique: bigint, content: number): Promise<void> {
    const leaving = new AbortController();
    this.#waiters.set(unique, leaving);
    const outcome = await this.#waits.wait(this.#mount.tree.digestOfContent(content), leaving.signal);
    this.#waiters.delete(unique);
    if (outcome === 'left') return;
    this.#responder.tell({ type: 'answer', mount: this.#id, unique, arrived: outcome === 'arrived' });
  }

  #finish(): void {
    this.#responder.release(this.#id);
    this.#waits.close();
    closeSync(this.#mount.fd);
    this.#readied.reject(new FileSystemError({ kind: 'mount-failed', mountpoint: this.mountpoint }));
    this.#readied.promise.catch(() => {}); // after `ready` nobody listens, and that is no fault
    this.#gone.resolve();
  }
}
