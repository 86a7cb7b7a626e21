import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Signal } from 'fuse-native';
import Fuse from 'fuse-native';
import type { Tree } from '../../../schemas/toc/tree.ts';
import { ContentWaits } from '../content-waits.ts';
import type {
  ContentSource,
  DriverAbilities,
  FileSystemDriver,
  MountedTree,
  MountOptions,
  MountStats,
} from '../driver.ts';
import { FileSystemError } from '../error.ts';
import { canonicalMountpoint, isMounted } from '../mount-table.ts';
import { OpenTrace } from '../open-trace.ts';
import { Xattrs } from '../xattrs.ts';
import { TreeOperations } from './operations.ts';

const ENOENT = -2;
const ERANGE = -34;
const ENODATA = -61;
const VALID_SECONDS = 315_360_000;

/**
 * libfuse's options, all through `fsname`, which fuse-native passes on as it is. The iconv module makes
 * every byte of a name one Latin-1 character on our side, since fuse-native takes names for UTF-8.
 */
const MOUNT_OPTIONS = [
  'starlight',
  'subtype=starlight',
  'ro',
  'suid',
  'dev',
  'use_ino',
  'default_permissions',
  `negative_timeout=${VALID_SECONDS}`,
  'max_read=131072',
  'modules=iconv',
  'from_code=UTF-8',
  'to_code=ISO-8859-1',
].join(',');

/** fuse-native with an answer to the extended attribute calls that knows the caller's buffer. */
class TreeFuse extends Fuse {
  readonly #operations: TreeOperations;
  readonly #xattrs: Xattrs;

  constructor(mountpoint: string, operations: TreeOperations, xattrs: Xattrs) {
    const table = operations.table();
    // Present only to make fuse-native pass the calls on to the methods below; without them libfuse answers
    // ENOSYS by itself, and overlayfs asks no more.
    if (xattrs.any) {
      table.getxattr = (_path, _name, _position, done) => done(ENODATA);
      table.listxattr = (_path, done) => done(0);
    }
    super(mountpoint, table, {
      allowOther: true,
      fsname: MOUNT_OPTIONS,
      timeout: false,
      kernelCache: true,
      entryTimeout: VALID_SECONDS,
      attrTimeout: VALID_SECONDS,
    });
    this.#operations = operations;
    this.#xattrs = xattrs;
  }

  /** Called by fuse-native instead of its own, which copies without regard to the room. */
  _op_getxattr(signal: Signal, path: string, name: string, target: Buffer): void {
    const inode = this.#operations.paths.find(path);
    const value =
      inode < 0 ? undefined : this.#xattrs.of(inode).values.get(Buffer.from(name).toString('latin1'));
    signal(inode < 0 ? ENOENT : value === undefined ? ENODATA : copySized(value, target), target.buffer);
  }

  /** As above: its own adds 128 bytes to the size. */
  _op_listxattr(signal: Signal, path: string, target: Buffer): void {
    const inode = this.#operations.paths.find(path);
    signal(inode < 0 ? ENOENT : copySized(this.#xattrs.of(inode).list, target), target.buffer);
  }
}

function copySized(value: Uint8Array, target: Buffer): number {
  if (target.length === 0) return value.length;
  if (target.length < value.length) return ERANGE;
  target.set(value);
  return value.length;
}

class NativeMountedTree implements MountedTree {
  readonly driver = 'fuse-native';
  readonly mountpoint: string;
  readonly closed: Promise<void>;
  readonly #fuse: TreeFuse;
  readonly #operations: TreeOperations;
  readonly #waits: ContentWaits;
  readonly #trace: OpenTrace;
  readonly #finished = Promise.withResolvers<void>();
  #unmounting: Promise<void> | undefined;

  constructor(tree: Tree, mountpoint: string, contents: ContentSource, options: MountOptions) {
    this.mountpoint = mountpoint;
    this.closed = this.#finished.promise;
    this.#trace = new OpenTrace(tree.inodeCount);
    this.#waits = new ContentWaits(contents, options.waitLimitMs, (digest, error) =>
      options.log.warn({ mountpoint, digest, error }, 'a content is given up: EIO to who waits'),
    );
    this.#operations = new TreeOperations({
      tree,
      directory: contents.directory,
      waits: this.#waits,
      trace: this.#trace,
      onOpen: (inode) => options.onOpen?.(inode),
      onFault: (error) => options.log.error({ mountpoint, error }, 'file system'),
    });
    this.#fuse = new TreeFuse(mountpoint, this.#operations, new Xattrs(tree));
  }

  mount(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#fuse.mount((error) => (error === null || error === undefined ? resolve() : reject(error)));
    });
  }

  stats(): MountStats {
    return this.#waits.stats();
  }

  restartTrace(): void {
    this.#trace.restart();
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount();
    return this.#unmounting;
  }

  async #unmount(): Promise<void> {
    this.#waits.close();
    try {
      await new Promise<void>((resolve, reject) => {
        this.#fuse.unmount((error) => (error === null || error === undefined ? resolve() : reject(error)));
      });
    } catch (error) {
      throw new FileSystemError({ kind: 'unmount-failed', mountpoint: this.mountpoint }, { cause: error });
    } finally {
      // The fuse-native object lives as long as the process (it never lets go of its references), and users
      // of a busy tree are answered on: only the descriptors are freed, and opened again when asked for.
      this.#operations.close();
      this.#finished.resolve();
    }
  }
}

/** The portable driver: libfuse 2 through the fuse-native add-on. README.md lists its limits. */
export class FuseNativeDriver implements FileSystemDriver {
  readonly name = 'fuse-native';
  readonly abilities: DriverAbilities = {
    nanoseconds: false,
    beforeEpoch: false,
    killable: false,
    adoptable: false,
  };
  readonly #mounted = new Set<NativeMountedTree>();
  #closed = false;

  async mount(
    tree: Tree,
    mountpoint: string,
    contents: ContentSource,
    options: MountOptions,
    signal: AbortSignal,
  ): Promise<MountedTree> {
    signal.throwIfAborted();
    if (this.#closed) throw new FileSystemError({ kind: 'closed' });
    const mounted = new NativeMountedTree(tree, canonicalMountpoint(mountpoint), contents, options);
    try {
      await mounted.mount();
    } catch (error) {
      throw new FileSystemError({ kind: 'mount-failed', mountpoint }, { cause: error });
    }
    this.#mounted.add(mounted);
    void mounted.closed.then(() => this.#mounted.delete(mounted));
    if (signal.aborted) {
      await mounted.unmount();
      signal.throwIfAborted();
    }
    return mounted;
  }

  /** A libfuse session dies with its process: a mount that it left can only be taken away. */
  async resume(_tree: Tree, mountpoint: string): Promise<undefined> {
    const place = canonicalMountpoint(mountpoint);
    if (!isMounted(place)) return;
    try {
      await promisify(execFile)('fusermount', ['-uz', place]);
    } catch (error) {
      throw new FileSystemError({ kind: 'unmount-failed', mountpoint }, { cause: error });
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([...this.#mounted].map((mounted) => mounted.unmount()));
  }
}
