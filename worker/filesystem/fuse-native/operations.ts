import type { Operations, Stat } from 'fuse-native';
import { NONE, type Tree } from '../../../schemas/toc/tree.ts';
import { ContentFiles } from '../content-files.ts';
import type { ContentWaits } from '../content-waits.ts';
import type { OpenTrace } from '../open-trace.ts';
import { Paths } from './paths.ts';

const ENOENT = -2;
const EIO = -5;
const EINVAL = -22;
const TYPE_MASK = 0o170000;
const TYPE_FILE = 0o100000;
const TYPE_LINK = 0o120000;
const DIRECTORY_BYTES = 4096;
const ABSENT = -1;

/** What the operations need beside the tree. */
export interface OperationsContext {
  readonly tree: Tree;
  /** See ContentSource.directory. */
  readonly directory: string;
  readonly waits: ContentWaits;
  readonly trace: OpenTrace;
  onOpen(inode: number): void;
  onFault(error: unknown): void;
}

/** The answers to libfuse, by path. They run on the main thread; each libfuse thread waits for its own. */
export class TreeOperations {
  readonly #context: OperationsContext;
  readonly #tree: Tree;
  readonly #files: ContentFiles;
  readonly paths: Paths;
  /** Waits here have no leaver: libfuse does not tell when a process is gone. */
  readonly #never = new AbortController().signal;

  constructor(context: OperationsContext) {
    this.#context = context;
    this.#tree = context.tree;
    this.#files = new ContentFiles(context.directory, context.tree);
    this.paths = new Paths(context.tree);
  }

  /** For fuse-native; what is missing here (access, flush, release, …) libfuse answers without a call. */
  table(): Operations {
    return {
      getattr: (path, done) =>
        this.#guard(done, () => {
          const inode = this.paths.find(path);
          if (inode < 0) done(ENOENT);
          else done(0, this.#stat(inode));
        }),
      readdir: (path, done) =>
        this.#guard(done, () => {
          const directory = this.paths.find(path);
          if (directory < 0) done(ENOENT);
          else this.#readdir(directory, done);
        }),
      readlink: (path, done) =>
        this.#guard(done, () => {
          const inode = this.paths.find(path);
          if (inode < 0) done(ENOENT);
          else if (this.#typeOf(inode) !== TYPE_LINK) done(EINVAL);
          else done(0, latin1(this.#tree.linkAt(inode)));
        }),
      open: (path, _flags, done) =>
        this.#guard(done, () => {
          const inode = this.paths.find(path);
          if (inode < 0) done(ENOENT);
          else this.#open(inode, done);
        }),
      read: (_path, handle, target, length, position, done) =>
        this.#guard(done, () =>
          this.#withContent(handle - 1, done, (fd) =>
            done(fd < 0 ? 0 : this.#files.read(fd, target, 0, length, position)),
          ),
        ),
    };
  }

  close(): void {
    this.#files.close();
  }

  #guard(done: (code: number) => void, operation: () => void): void {
    try {
      operation();
    } catch (error) {
      this.#context.onFault(error);
      done(EIO);
    }
  }

  #readdir(directory: number, done: (code: number, names: string[], stats: Stat[]) => void): void {
    const tree = this.#tree;
    const names = ['.', '..'];
    const stats = [this.#stat(directory), this.#stat(tree.parent[directory] ?? 0)];
    const first = tree.firstEntry[directory] ?? 0;
    for (let entry = first; entry < first + (tree.entryCount[directory] ?? 0); entry++) {
      names.push(latin1(tree.nameAt(entry)));
      stats.push(this.#stat(tree.entryInode[entry] ?? 0));
    }
    done(0, names, stats);
  }

  #open(inode: number, done: (code: number, handle?: number) => void): void {
    // Noted before the wait: the order of the asking is what the optimizer wants, not that of the arrivals.
    if (this.#typeOf(inode) === TYPE_FILE && this.#context.trace.first(inode)) this.#context.onOpen(inode);
    this.#withContent(inode, done, () => done(0, inode + 1));
  }

  /** Calls `then` with the open content, now or when it has come; with -1 for a file without content. */
  #withContent(inode: number, done: (code: number) => void, then: (fd: number) => void): void {
    const content = this.#tree.content[inode] ?? NONE;
    const fd = content === NONE ? ABSENT : this.#files.open(content);
    if (content === NONE || fd !== ABSENT) {
      then(fd);
      return;
    }
    void this.#context.waits.wait(this.#tree.digestOfContent(content), this.#never).then((outcome) =>
      this.#guard(done, () => {
        const arrived = outcome === 'arrived' ? this.#files.open(content) : ABSENT;
        if (arrived === ABSENT) done(EIO);
        else then(arrived);
      }),
    );
  }

  #typeOf(inode: number): number {
    return (this.#tree.mode[inode] ?? 0) & TYPE_MASK;
  }

  #stat(inode: number): Stat {
    const tree = this.#tree;
    const size = tree.isDirectory(inode) ? DIRECTORY_BYTES : (tree.size[inode] ?? 0);
    const seconds = tree.mtimeSec[inode] ?? 0;
    // fuse-native computes with unsigned milliseconds: a time before 1970 would come out in the far future.
    const mtime = Math.max(0, seconds * 1000 + Math.floor((tree.mtimeNsec[inode] ?? 0) / 1e6));
    return {
      mode: tree.mode[inode] ?? 0,
      uid: tree.uid[inode] ?? 0,
      gid: tree.gid[inode] ?? 0,
      size,
      nlink: tree.nlink[inode] ?? 1,
      ino: inode + 1,
      rdev: tree.rdev[inode] ?? 0,
      blksize: 4096,
      blocks: Math.ceil(size / 512),
      mtime,
      atime: mtime,
      ctime: mtime,
    };
  }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
