import { NONE, type Tree } from '../../../schemas/toc/tree.ts';
import { ContentFiles } from '../content-files.ts';
import type { OpenTrace } from '../open-trace.ts';
import { Xattrs } from '../xattrs.ts';
import { type BlockedRequest, BlockedRequests } from './blocked.ts';
import { INIT_REPLY_BYTES, type Negotiated, negotiate } from './init.ts';
import { Reply } from './reply.ts';
import { ERRNO, MAX_READ_BYTES, OPCODE, OPEN_FLAG, REPLY_HEADER_BYTES, REQUEST } from './protocol.ts';

const TYPE_MASK = 0o170000;
const TYPE_FILE = 0o100000;
const TYPE_LINK = 0o120000;
const BODY = REPLY_HEADER_BYTES;
const BODY_WORD = BODY >>> 2;
const NAME_MAX_BYTES = 255;
const DOT = Buffer.from('.');
const DOT_DOT = Buffer.from('..');

/** Bytes of the body that is in place, or a negative errno, or LATER. */
type Answer = number;
/** No reply, or not yet. Outside of what errnos use. */
const LATER = -0x10000;
const ABSENT = -1;

/** What a session needs from the thread that runs it. */
export interface SessionPort {
  /** Sends the first `length` bytes to the kernel. */
  write(bytes: Uint8Array, length: number): void;
  /** A process waits for this content: `answer(unique, …)` must follow, unless `leave` comes first. */
  want(unique: bigint, content: number): void;
  /** The process that waited under this unique is gone. */
  leave(unique: bigint): void;
  opened(inode: number): void;
  /** The mount answers from now on. */
  ready(negotiated: Negotiated): void;
  fault(error: unknown): void;
  /** Has the thread of that id SIGKILL pending? */
  isKilled(threadId: number): boolean;
}

/** What a session shows. */
export interface SessionContents {
  readonly tree: Tree;
  /** See ContentSource.directory. */
  readonly directory: string;
  readonly trace: OpenTrace;
}

/**
 * One mounted tree: turns each request of the kernel into a reply, or keeps it until its content is there.
 * Holds no state that a successor would need: a node id is the inode row + 1, a file handle is the node id,
 * a directory position is the entry's index.
 */
export class Session {
  readonly #tree: Tree;
  readonly #port: SessionPort;
  readonly #files: ContentFiles;
  readonly #trace: OpenTrace;
  readonly #xattrs: Xattrs;
  readonly #blocked: BlockedRequests;
  readonly #reply = new Reply();
  readonly #inodeCount: number;
  #request: Buffer = Buffer.alloc(0);
  #length = 0;
  #low = 0;
  #high = 0;

  constructor(contents: SessionContents, port: SessionPort) {
    this.#tree = contents.tree;
    this.#port = port;
    this.#files = new ContentFiles(contents.directory, contents.tree);
    this.#trace = contents.trace;
    this.#xattrs = new Xattrs(contents.tree);
    this.#blocked = new BlockedRequests((threadId) => port.isKilled(threadId));
    this.#inodeCount = contents.tree.mode.length;
  }

  /** Answers the request in `request` (`length` bytes of it), now or later. Never throws. */
  handle(request: Buffer, length: number): void {
    this.#request = request;
    this.#length = length;
    this.#low = request.readUInt32LE(REQUEST.unique);
    this.#high = request.readUInt32LE(REQUEST.unique + 4);
    this.#settle(() => this.#dispatch(request.readUInt32LE(REQUEST.opcode)));
  }

  /** Ends the wait of a request that `want` announced. */
  answer(unique: bigint, arrived: boolean): void {
    const request = this.#blocked.take(unique);
    if (request === undefined) return;
    this.#address(unique);
    this.#settle(() => {
      const fd = arrived ? this.#files.open(request.content) : ABSENT;
      if (fd === ABSENT) return -ERRNO.EIO;
      return request.read === undefined ? this.#opened(request.inode + 1) : this.#readNow(request.read, fd);
    });
  }

  /** True while there are interrupted requests, to be looked at again with `reap`. */
  get hasInterrupted(): boolean {
    return this.#blocked.hasInterrupted;
  }

  /** Lets go of the requests whose process has been killed meanwhile. */
  reap(): void {
    for (const unique of this.#blocked.reap()) this.#letGo(unique);
  }

  close(): void {
    this.#files.close();
  }

  #dispatch(opcode: number): Answer {
    const inode = this.#request.readUInt32LE(REQUEST.nodeid) - 1;
    switch (opcode) {
      case OPCODE.forget:
      case OPCODE.batchForget:
        return LATER; // node ids are rows: nothing is counted, and no reply is expected
      case OPCODE.interrupt:
        return this.#interrupt();
      case OPCODE.init:
        return this.#init();
    }
    if (inode < 0 || inode >= this.#inodeCount) return -ERRNO.ENOENT;
    switch (opcode) {
      case OPCODE.lookup:
        return this.#lookup(inode);
      case OPCODE.getattr:
        return this.#reply.attrOut(BODY, this.#tree, inode);
      case OPCODE.readlink:
        return this.#readlink(inode);
      case OPCODE.open:
        return this.#open(inode);
      case OPCODE.read:
        return this.#read(inode);
      case OPCODE.readdir:
        return this.#readdir(inode, false);
      case OPCODE.readdirplus:
        return this.#readdir(inode, true);
      case OPCODE.getxattr:
        return this.#getxattr(inode);
      case OPCODE.listxattr:
        return this.#sized(this.#xattrs.of(inode).list);
      case OPCODE.statfs:
        return this.#statfs();
      case OPCODE.release:
      case OPCODE.releasedir:
      case OPCODE.destroy:
        return 0;
      case OPCODE.setattr:
      case OPCODE.symlink:
      case OPCODE.mknod:
      case OPCODE.mkdir:
      case OPCODE.unlink:
      case OPCODE.rmdir:
      case OPCODE.rename:
      case OPCODE.rename2:
      case OPCODE.link:
      case OPCODE.write:
      case OPCODE.create:
      case OPCODE.setxattr:
      case OPCODE.removexattr:
        return -ERRNO.EROFS;
      default:
        // OPENDIR, FLUSH, ACCESS, LSEEK, STATX, IOCTL and others: the kernel does them itself from now on.
        return -ERRNO.ENOSYS;
    }
  }

  #init(): Answer {
    const negotiated = negotiate(this.#request, this.#reply.bytes);
    if (negotiated === undefined) return -ERRNO.EPROTO;
    this.#port.ready(negotiated);
    return INIT_REPLY_BYTES;
  }

  #lookup(directory: number): Answer {
    const tree = this.#tree;
    if (!tree.isDirectory(directory)) return -ERRNO.ENOTDIR;
    const name = this.#text(REQUEST.body);
    let inode: number;
    if (name.equals(DOT)) inode = directory;
    else if (name.equals(DOT_DOT)) inode = tree.parent[directory] ?? 0;
    else inode = tree.lookup(directory, name);
    return inode < 0 ? this.#reply.negativeEntryOut(BODY) : this.#reply.entryOut(BODY, tree, inode);
  }

  #readlink(inode: number): Answer {
    if (this.#typeOf(inode) !== TYPE_LINK) return -ERRNO.EINVAL;
    const target = this.#tree.linkAt(inode);
    this.#reply.bytes.set(target, BODY);
    return target.length;
  }

  /** fuse_open_in: flags u32 0. */
  #open(inode: number): Answer {
    // Flags 0 are the kernel's own open, by which overlayfs asks for inode flags before a copy-up: no process
    // has opened anything, and no content is needed.
    if (this.#request.readUInt32LE(REQUEST.body) === 0) return this.#opened(0);
    // Noted before the wait: the order of the asking is what the optimizer wants, not that of the arrivals.
    if (this.#typeOf(inode) === TYPE_FILE && this.#trace.first(inode)) this.#port.opened(inode);
    const content = this.#contentOf(inode);
    if (content === NONE || this.#files.open(content) !== ABSENT) return this.#opened(inode + 1);
    return this.#block({ inode, content, threadId: this.#threadId(), read: undefined });
  }

  /** fuse_open_out: fh u64 0 | open_flags u32 8 | backing_id i32 12. */
  #opened(handle: number): Answer {
    const words = this.#reply.words;
    words[BODY_WORD] = handle;
    words[BODY_WORD + 1] = 0;
    words[BODY_WORD + 2] = OPEN_FLAG.keepCache | OPEN_FLAG.noflush;
    words[BODY_WORD + 3] = 0;
    return 16;
  }

  /** fuse_read_in: fh u64 0 | offset u64 8 | size u32 16. */
  #read(inode: number): Answer {
    const content = this.#contentOf(inode);
    const request = this.#request;
    const offset = request.readUInt32LE(REQUEST.body + 8) + request.readUInt32LE(REQUEST.body + 12) * 2 ** 32;
    if (content === NONE || offset >= (this.#tree.size[inode] ?? 0)) return 0;
    const size = Math.min(request.readUInt32LE(REQUEST.body + 16), MAX_READ_BYTES);
    const fd = this.#files.open(content);
    if (fd !== ABSENT) return this.#readNow({ offset, size }, fd);
    return this.#block({ inode, content, threadId: this.#threadId(), read: { offset, size } });
  }

  #readNow(read: { offset: number; size: number }, fd: number): Answer {
    return this.#files.read(fd, this.#reply.bytes, BODY, read.size, read.offset);
  }

  /** fuse_read_in as for READ; the offset is the index of the next entry, counting "." and "..". */
  #readdir(directory: number, plus: boolean): Answer {
    if (!this.#tree.isDirectory(directory)) return -ERRNO.ENOTDIR;
    const first = this.#request.readUInt32LE(REQUEST.body + 8);
    const room = Math.min(this.#request.readUInt32LE(REQUEST.body + 16), MAX_READ_BYTES);
    return this.#reply.listing(BODY, room, this.#tree, directory, first, plus);
  }

  /** fuse_getxattr_in: size u32 0 | – | the name at 8. */
  #getxattr(inode: number): Answer {
    // One ENOSYS, and overlayfs asks no more of its questions on this mount: a walk costs half.
    if (!this.#xattrs.any) return -ERRNO.ENOSYS;
    const name = this.#text(REQUEST.body + 8).toString('latin1');
    const value = this.#xattrs.of(inode).values.get(name);
    return value === undefined ? -ERRNO.ENODATA : this.#sized(value);
  }

  /** The two-step answer of the xattr calls: the size when asked with no room, else the bytes. */
  #sized(value: Uint8Array): Answer {
    const room = this.#request.readUInt32LE(REQUEST.body);
    if (room === 0) {
      this.#reply.words[BODY_WORD] = value.length;
      this.#reply.words[BODY_WORD + 1] = 0;
      return 8;
    }
    if (room < value.length) return -ERRNO.ERANGE;
    this.#reply.bytes.set(value, BODY);
    return value.length;
  }

  /** fuse_kstatfs, 80 bytes: blocks bfree bavail files ffree u64 0..32 | bsize 40 | namelen 44 | frsize 48. */
  #statfs(): Answer {
    const words = this.#reply.words;
    words.fill(0, BODY_WORD, BODY_WORD + 20);
    words[BODY_WORD + 6] = this.#inodeCount;
    words[BODY_WORD + 10] = 4096;
    words[BODY_WORD + 11] = NAME_MAX_BYTES;
    words[BODY_WORD + 12] = 4096;
    return 80;
  }

  /** fuse_interrupt_in: the unique of the request whose process has a signal. It gets no reply itself. */
  #interrupt(): Answer {
    const unique = this.#request.readBigUInt64LE(REQUEST.body);
    if (this.#blocked.interrupt(unique)) this.#letGo(unique);
    return LATER;
  }

  #letGo(unique: bigint): void {
    if (this.#blocked.take(unique) === undefined) return;
    this.#address(unique);
    this.#settle(() => -ERRNO.EINTR);
    this.#port.leave(unique);
  }

  #block(request: BlockedRequest): Answer {
    const unique = (BigInt(this.#high) << 32n) | BigInt(this.#low);
    this.#blocked.add(unique, request);
    this.#port.want(unique, request.content);
    return LATER;
  }

  #contentOf(inode: number): number {
    return this.#tree.content[inode] ?? NONE;
  }

  #typeOf(inode: number): number {
    return (this.#tree.mode[inode] ?? 0) & TYPE_MASK;
  }

  #threadId(): number {
    return this.#request.readUInt32LE(REQUEST.pid);
  }

  /** The NUL-terminated bytes at `at`. */
  #text(at: number): Buffer {
    const end = this.#request.indexOf(0, at);
    return this.#request.subarray(at, end < 0 || end > this.#length ? this.#length : end);
  }

  /** Makes `unique` the request that is answered next. */
  #address(unique: bigint): void {
    this.#low = Number(unique & 0xffffffffn);
    this.#high = Number(unique >> 32n);
  }

  /** Sends what `work` answers; a fault in it is EIO. */
  #settle(work: () => Answer): void {
    let answer: Answer;
    try {
      answer = work();
    } catch (error) {
      this.#port.fault(error);
      answer = -ERRNO.EIO;
    }
    if (answer === LATER) return;
    const reply = this.#reply;
    const length =
      answer < 0 ? reply.fail(this.#low, this.#high, -answer) : reply.finish(this.#low, this.#high, answer);
    this.#port.write(reply.bytes, length);
  }
}
