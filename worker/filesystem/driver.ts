/**
 * StarlightFS: a merged image (`Tree`) shown as one read-only file system whose contents may still be on
 * their way. This file is the vocabulary that the daemon and the drivers share; see README.md for the flow.
 *
 * A driver works on inodes (rows of the tree), never on paths: what it reports and asks for are inode rows
 * and content digests.
 */
import type { Digest } from '../../schemas/oci/digest.ts';
import type { Tree } from '../../schemas/toc/tree.ts';

export type DriverName = 'kernel' | 'fuse-native';

/** Where a driver takes contents from: the local store, with the download behind it. */
export interface ContentSource {
  /**
   * The directory of complete, verified contents: `<first 2 hex digits>/<other 62>` of the sha256. A file
   * that is visible under this name is whole and never changes; drivers open it themselves, without a call.
   */
  readonly directory: string;

  /**
   * Called when a process is waiting for a content that is not in `directory`: it is wanted *now*. Fulfils
   * once the file is visible there. A rejection means that waiting longer is useless: the process gets EIO.
   * Called once per content however many wait; `signal` is aborted when the last of them is gone.
   */
  want(digest: Digest, signal: AbortSignal): Promise<unknown>;
}

/** The part of a pino logger that drivers use. */
export interface FileSystemLog {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface MountOptions {
  /** How long an open or read waits for a content before it fails with EIO. 0 waits for ever. */
  readonly waitLimitMs: number;
  /**
   * First opens, in order, each regular file (inode row) once until `restartTrace()`: empty files too, since
   * an optimizer may care, directories never.
   */
  readonly onOpen?: (inode: number) => void;
  readonly log: FileSystemLog;
}

/** Counters of one mounted tree since it was mounted. */
export interface MountStats {
  /** Processes waiting for a content at this moment. */
  readonly waiting: number;
  /** Opens and reads that had to wait. */
  readonly waited: number;
  /** Of those, how many ended with EIO: limit passed, content given up, or unmounted. */
  readonly failed: number;
}

export interface MountedTree {
  readonly mountpoint: string;
  readonly driver: DriverName;
  /** Fulfils when the tree is served no longer: `unmount()`, or (kernel driver) unmounted from outside. */
  readonly closed: Promise<void>;
  stats(): MountStats;
  /** Makes every file's next open a first open again, so that another start can be traced. */
  restartTrace(): void;
  /**
   * Takes the tree away, busy or not: whoever waits for a content gets EIO. Idempotent.
   * @throws {FileSystemError} `unmount-failed`
   */
  unmount(): Promise<void>;
}

/** What a driver can show; the contract suite asks for exactly that. */
export interface DriverAbilities {
  /** mtimes with nanoseconds; else cut to milliseconds. */
  readonly nanoseconds: boolean;
  /** mtimes before 1970; else they read as 1970-01-01T00:00:00Z. */
  readonly beforeEpoch: boolean;
  /** A process that waits for a content dies of SIGKILL at once; else when its wait ends. */
  readonly killable: boolean;
  /** The mount can outlive the process and be taken over by another one, see `resume`. */
  readonly adoptable: boolean;
}

export interface FileSystemDriver {
  readonly name: DriverName;
  readonly abilities: DriverAbilities;
  /**
   * Mounts `tree` on the existing directory `mountpoint`; fulfils when it answers. `signal` ends the
   * mounting, not the mount.
   * @throws {FileSystemError} `mount-failed`
   */
  mount(
    tree: Tree,
    mountpoint: string,
    contents: ContentSource,
    options: MountOptions,
    signal: AbortSignal,
  ): Promise<MountedTree>;
  /**
   * Takes over what an earlier process, now dead, left mounted on `mountpoint`: its users notice nothing. The
   * tree must be the one that was mounted. Undefined when that cannot be: then the mountpoint is free, a dead
   * mount on it having been taken away, and `mount` is the way.
   */
  resume(
    tree: Tree,
    mountpoint: string,
    contents: ContentSource,
    options: MountOptions,
    signal: AbortSignal,
  ): Promise<MountedTree | undefined>;
  /**
   * Ends the driver and its threads. With `leaveMounted`, and where the driver can (`adoptable`), what is
   * mounted stays, its users waiting, for `resume` in another process; otherwise it is unmounted. Idempotent.
   */
  close(how?: { readonly leaveMounted: boolean }): Promise<void>;
}
