/**
 * The system calls of sendfile.ts's thread, through koffi. Loading this module loads koffi, a native add-on: import
 * it dynamically.
 */
import koffi from 'koffi';

const libc = koffi.load(null);

/** What a koffi function of this module looks like: numbers and buffers in, a number out. */
type NativeCall = (...args: readonly unknown[]) => number;

const nativeSendfile: NativeCall = libc.func(
  'int64_t sendfile64(int target, int source, void *offset, size_t count)',
);
const nativeEpollCreate: NativeCall = libc.func('int epoll_create1(int flags)');
const nativeEpollControl: NativeCall = libc.func('int epoll_ctl(int epoll, int what, int fd, void *event)');
const nativeEpollWait: NativeCall = libc.func(
  'int epoll_wait(int epoll, void *events, int max, int timeoutMs)',
);
const nativeEventfd: NativeCall = libc.func('int eventfd(unsigned int value, int flags)');
const nativeDuplicate: NativeCall = libc.func('fcntl', 'int', ['int', 'int', 'int']);
const nativeRead: NativeCall = libc.func('int64_t read(int fd, void *buffer, size_t count)');

const nativeIoctl: NativeCall = libc.func('int ioctl(int fd, unsigned long request, void *value)');

export const ERRNO = { EINTR: 4, EAGAIN: 11 } as const;

const CLOEXEC = 0o2000000;
const NONBLOCK = 0o4000;
const F_DUPFD_CLOEXEC = 1030;
/** Duplicates are numbered from here on, so that none becomes 0, 1 or 2. */
const FIRST_FD = 3;

/** A second number for an open descriptor. @throws {Error} where there are too many. */
export function duplicate(fd: number): number {
  return checked('fcntl', nativeDuplicate(fd, F_DUPFD_CLOEXEC, FIRST_FD));
}

/** A new event descriptor: the waker of a thread that sits in epoll_wait(2). */
export function eventDescriptor(): number {
  return checked('eventfd', nativeEventfd(0, CLOEXEC | NONBLOCK));
}

const counter = Buffer.alloc(8);

/** Resets an event descriptor's count. */
export function hush(fd: number): void {
  nativeRead(fd, counter, counter.length);
}

const offset = new BigInt64Array(1);

/** Bytes sent from `position` of a file on, 0 at the file's end, or the negative errno. */
export function sendfile(socketFd: number, fileFd: number, position: number, count: number): number {
  offset[0] = BigInt(position);
  const sent = Number(nativeSendfile(socketFd, fileFd, offset, count));
  return sent < 0 ? -koffi.errno() : sent;
}

/** SIOCOUTQ. */
const TIOCOUTQ = 0x5411;
const queued = new Int32Array(1);

/** Bytes that a socket was given and its peer has not acknowledged (tcp(7)); 0 where it does not tell. */
export function unacknowledgedBytes(socketFd: number): number {
  return nativeIoctl(socketFd, TIOCOUTQ, queued) < 0 ? 0 : (queued[0] ?? 0);
}

const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EPOLLOUT = 4;
const MAX_EVENTS = 128;
/** struct epoll_event: events u32 0, data u64; packed on x86-64 alone. */
const EVENT = process.arch === 'x64' ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };

/** The descriptors that a thread waits for (epoll(7), level-triggered). */
export class Epoll {
  readonly #fd = checked('epoll_create1', nativeEpollCreate(CLOEXEC));
  readonly #events = Buffer.alloc(EVENT.bytes * MAX_EVENTS);
  readonly #event = Buffer.alloc(EVENT.bytes);

  /** The epoll's own descriptor, to be closed in the end. */
  get fd(): number {
    return this.#fd;
  }

  add(fd: number, until: 'readable' | 'writable'): void {
    this.#event.fill(0);
    this.#event.writeUInt32LE(until === 'readable' ? EPOLLIN : EPOLLOUT, 0);
    this.#event.writeInt32LE(fd, EVENT.data);
    checked('epoll_ctl', nativeEpollControl(this.#fd, EPOLL_CTL_ADD, fd, this.#event));
  }

  remove(fd: number): void {
    nativeEpollControl(this.#fd, EPOLL_CTL_DEL, fd, this.#event);
  }

  /** @returns how many are ready, in error or hung up, at most {@link MAX_EVENTS}; {@link descriptor} names them. */
  wait(timeoutMs: number): number {
    return Math.max(nativeEpollWait(this.#fd, this.#events, MAX_EVENTS, timeoutMs), 0);
  }

  /** One of those that the last {@link wait} found, by its number from 0 on. */
  descriptor(row: number): number {
    return this.#events.readInt32LE(row * EVENT.bytes + EVENT.data);
  }
}

function checked(call: string, result: number): number {
  if (result < 0) throw new Error(`${call}: errno ${koffi.errno()}`);
  return result;
}
