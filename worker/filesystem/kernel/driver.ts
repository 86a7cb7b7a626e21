import { closeSync, constants, openSync, writeFileSync } from 'node:fs';
import type { Tree, TreeBuffers } from '../../../schemas/toc/tree.ts';
import type {
  ContentSource,
  DriverAbilities,
  FileSystemDriver,
  FileSystemLog,
  MountOptions,
} from '../driver.ts';
import { FileSystemError } from '../error.ts';
import { canonicalMountpoint, isMounted, mountedDevice } from '../mount-table.ts';
import type { DescriptorHolder } from './descriptor-holder.ts';
import { type KernelMount, KernelMountedTree } from './mounted-tree.ts';
import { MAX_READ_BYTES } from './protocol.ts';
import { ResponderHandle } from './responder-handle.ts';
import { MNT_DETACH, mountFuse, SystemCallError, unmount } from './system-calls.ts';

export const FUSE_DEVICE = '/dev/fuse';

/** Read-ahead of a mount: as much as one READ may ask for. The kernel's default is 128 KiB. */
const READ_AHEAD_KIB = MAX_READ_BYTES / 1024;

/**
 * Speaks the FUSE protocol on /dev/fuse itself, in one thread for all mounts. Needs root (mount(2)) and
 * koffi. See README.md for what it can do that the portable driver cannot.
 */
export class KernelDriver implements FileSystemDriver {
  readonly name = 'kernel';
  readonly abilities: DriverAbilities;
  readonly #responder: ResponderHandle;
  readonly #holder: DescriptorHolder | undefined;
  readonly #mounted = new Set<KernelMountedTree>();
  /** Trees in shared memory: several mounts of one image share it. */
  readonly #shared = new WeakMap<Tree, TreeBuffers>();
  #closed = false;

  /**
   * Starts the responder thread at once: it needs some 50 ms, which the first mount then does not wait for.
   *
   * @param holder keeps the descriptors beyond this process; without it nothing can be resumed.
   */
  constructor(log: FileSystemLog, holder?: DescriptorHolder) {
    this.#responder = new ResponderHandle(log);
    this.#holder = holder;
    this.abilities = {
      nanoseconds: true,
      beforeEpoch: true,
      killable: true,
      adoptable: holder !== undefined,
    };
  }

  async mount(
    tree: Tree,
    mountpoint: string,
    contents: ContentSource,
    options: MountOptions,
    signal: AbortSignal,
  ): Promise<KernelMountedTree> {
    this.#check(signal);
    const place = canonicalMountpoint(mountpoint);
    const fd = openSync(FUSE_DEVICE, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      mountFuse(fd, place, MAX_READ_BYTES);
    } catch (error) {
      closeSync(fd);
      const errno = error instanceof SystemCallError ? { errno: error.errno } : {};
      throw new FileSystemError({ kind: 'mount-failed', mountpoint: place, ...errno }, { cause: error });
    }
    return await this.#start({ tree, mountpoint: place, contents, options, fd }, false, signal);
  }

  async resume(
    tree: Tree,
    mountpoint: string,
    contents: ContentSource,
    options: MountOptions,
    signal: AbortSignal,
  ): Promise<KernelMountedTree | undefined> {
    this.#check(signal);
    const place = canonicalMountpoint(mountpoint);
    const fd = this.#holder?.take(place);
    if (fd !== undefined) {
      if (isMounted(place)) return await this.adopt(fd, tree, place, contents, options, signal);
      closeSync(fd);
    }
    await this.#holder?.release(place);
    if (isMounted(place)) await unmount(place, MNT_DETACH);
    return undefined;
  }

  /**
   * Takes over a mount whose process has died: `fd` is its descriptor, kept open by somebody else, and is
   * owned by the mount from now on. What the dead process had read and not answered is asked again, so that
   * no process notices (Linux 6.9; before, such requests stay unanswered and their askers must be killed).
   * The tree must be the one that was mounted, content for content.
   */
  async adopt(
    fd: number,
    tree: Tree,
    mountpoint: string,
    contents: ContentSource,
    options: MountOptions,
    signal: AbortSignal,
  ): Promise<KernelMountedTree> {
    this.#check(signal);
    const place = canonicalMountpoint(mountpoint);
    return await this.#start({ tree, mountpoint: place, contents, options, fd }, true, signal);
  }

  async close(how: { readonly leaveMounted: boolean } = { leaveMounted: false }): Promise<void> {
    this.#closed = true;
    const leave = how.leaveMounted && this.abilities.adoptable;
    const ends = [...this.#mounted].map((mounted) => (leave ? mounted.abandon() : mounted.unmount()));
    await Promise.allSettled(ends);
    await this.#responder.stop();
  }

  #check(signal: AbortSignal): void {
    signal.throwIfAborted();
    if (this.#closed) throw new FileSystemError({ kind: 'closed' });
  }

  async #start(
    mount: Omit<KernelMount, 'buffers' | 'adopted' | 'holder'>,
    adopted: boolean,
    signal: AbortSignal,
  ): Promise<KernelMountedTree> {
    const mounted = new KernelMountedTree(
      { ...mount, buffers: this.#share(mount.tree), adopted, holder: this.#holder },
      this.#responder,
    );
    this.#mounted.add(mounted);
    void mounted.closed.then(() => this.#forget(mounted));
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await this.#responder.during(Promise.race([mounted.ready, aborted.promise]));
      if (!adopted) await this.#holder?.keep(mount.mountpoint, mount.fd);
      if (!adopted) widenReadAhead(mount.mountpoint, mount.options.log);
      return mounted;
    } catch (error) {
      if (adopted) await mounted.abandon();
      else await mounted.unmount();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Unmounted from outside: the holder has nothing left to hold. */
  async #forget(mounted: KernelMountedTree): Promise<void> {
    this.#mounted.delete(mounted);
    if (!isMounted(mounted.mountpoint)) await this.#holder?.release(mounted.mountpoint);
  }

  #share(tree: Tree): TreeBuffers {
    let buffers = this.#shared.get(tree);
    if (buffers === undefined) {
      buffers = tree.toBuffers(true);
      this.#shared.set(tree, buffers);
    }
    return buffers;
  }
}

/** Fewer and larger requests for whoever reads a large file. A matter of speed alone: failure is no fault. */
function widenReadAhead(mountpoint: string, log: FileSystemLog): void {
  const device = mountedDevice(mountpoint);
  if (device === undefined) return;
  try {
    writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, `${READ_AHEAD_KIB}\n`);
  } catch (error) {
    log.debug({ mountpoint, error }, 'the read-ahead stays as it is');
  }
}
