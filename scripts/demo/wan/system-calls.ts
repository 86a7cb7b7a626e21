import { closeSync, constants, openSync } from 'node:fs';
import koffi from 'koffi';

/**
 * The few system calls that Node does not offer. They block the thread that makes them: the link's own worker
 * thread does so on purpose (a wait by `poll` wakes within microseconds, one by the event loop does not).
 */
const libc = koffi.load('libc.so.6');
const ioctl = libc.func('int ioctl(int fd, unsigned long request, ...)');
const prctl = libc.func('int prctl(int option, ...)');
const ppoll = libc.func('int ppoll(void *fds, unsigned long count, void *timeout, void *mask)');
const setpriority = libc.func('int setpriority(int which, unsigned int who, int priority)');
/** `read(2)` into the whole of a buffer: bytes read, or -1. */
export const read: (fd: number, buffer: Uint8Array, sizeBytes: number) => number = libc.func(
  'long read(int fd, void *buffer, unsigned long size)',
);
/** `write(2)`: bytes written, or -1. */
export const write: (fd: number, buffer: Uint8Array, sizeBytes: number) => number = libc.func(
  'long write(int fd, const void *buffer, unsigned long size)',
);

const TUNSETIFF = 0x400454ca;
const IFF_TUN = 0x0001;
const IFF_NO_PI = 0x1000;
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;
const PR_SET_PDEATHSIG = 1;
const PR_SET_TIMERSLACK = 29;
const SIGTERM = 15;

/**
 * Makes a TUN device in this network namespace; the descriptor reads and writes bare IP packets and does not
 * block. The device can be moved to another namespace, and is gone when the descriptor is closed.
 *
 * @throws when there is no /dev/net/tun, the name is taken or too long, or the caller is not root.
 */
export function openTun(name: string): number {
  if (Buffer.byteLength(name) >= IFNAMSIZ) throw new RangeError(`too long for a device: ${name}`);
  const fd = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write(name, 'latin1');
  request.writeUInt16LE(IFF_TUN | IFF_NO_PI, IFNAMSIZ);
  if (ioctl(fd, TUNSETIFF, 'void *', request) !== 0) {
    const errno = koffi.errno();
    closeSync(fd);
    throw new Error(`cannot make the TUN device ${name} (errno ${errno})`);
  }
  return fd;
}

/** Waits until one of a few descriptors can be read, or a time is over. */
export class Poller {
  readonly #fds: Uint8Array;
  readonly #count: number;
  readonly #timeout = new BigInt64Array(2);

  constructor(fds: readonly number[]) {
    const POLLIN = 1;
    const view = new DataView(new ArrayBuffer(fds.length * 8));
    fds.forEach((fd, index) => {
      view.setInt32(index * 8, fd, true);
      view.setInt16(index * 8 + 4, POLLIN, true);
    });
    this.#fds = new Uint8Array(view.buffer);
    this.#count = fds.length;
  }

  wait(timeoutMs: number): void {
    this.#timeout[1] = BigInt(Math.max(0, Math.min(999_999_999, Math.floor(timeoutMs * 1e6))));
    ppoll(this.#fds, this.#count, this.#timeout, null);
  }

  /** Sleeps, whatever can be read. */
  pause(timeoutMs: number): void {
    this.#timeout[1] = BigInt(Math.floor(timeoutMs * 1e6));
    ppoll(null, 0, this.#timeout, null);
  }
}

/** Makes this thread's waits exact to the microsecond, and puts it before others where that is allowed. */
export function makeThreadPunctual(): void {
  prctl(PR_SET_TIMERSLACK, 'unsigned long', 1);
  setpriority(0, 0, -20);
}

/** This process gets SIGTERM when the one that started it ends, however that ends. */
export function endWithParent(): void {
  prctl(PR_SET_PDEATHSIG, 'unsigned long', SIGTERM);
}
