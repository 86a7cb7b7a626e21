/**
 * The system calls that Node has no function for, through koffi. Loading this module loads koffi, a native
 * add-on: import it dynamically where its absence is a reason and not a failure.
 */
import koffi from 'koffi';

const libc = koffi.load(null);

/** What a koffi function of this module looks like: numbers, strings and buffers in, a number out. */
type NativeCall = (...args: readonly unknown[]) => number;

const nativeRead: NativeCall = libc.func('int64_t read(int fd, void *buffer, size_t count)');
const nativeWrite: NativeCall = libc.func('int64_t write(int fd, const void *buffer, size_t count)');
const nativePoll: NativeCall = libc.func('int poll(void *fds, unsigned long count, int timeoutMs)');
const nativeEventfd: NativeCall = libc.func('int eventfd(unsigned int value, int flags)');
const nativeMount: NativeCall = libc.func(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
);
const nativeUmount = libc.func('int umount2(const char *target, int flags)');
const nativeSyscall3: NativeCall = libc.func('syscall', 'long', ['long', 'long', 'long', 'long']);

/** A system call that failed; `errno` is positive. */
export class SystemCallError extends Error {
  readonly errno: number;
  readonly call: string;

  constructor(call: string, errno: number) {
    super(`${call}: errno ${errno}`);
    this.name = 'SystemCallError';
    this.call = call;
    this.errno = errno;
  }
}

/** Bytes read, or the negative errno: EAGAIN is as usual here as success, too usual for an exception. */
export function read(fd: number, target: Uint8Array): number {
  const count = nativeRead(fd, target, target.length);
  return count < 0 ? -koffi.errno() : count;
}

/** Bytes written, or the negative errno. */
export function write(fd: number, bytes: Uint8Array, length: number): number {
  const count = nativeWrite(fd, bytes, length);
  return count < 0 ? -koffi.errno() : count;
}

export const POLLIN = 1;

/**
 * The descriptors to wait for, as poll(2) has them: fd i32 0 | events i16 4 | revents i16 6, 8 bytes each.
 */
export class PollSet {
  #bytes = Buffer.alloc(0);
  #descriptors: readonly number[] = [];

  set(descriptors: readonly number[]): void {
    this.#descriptors = descriptors;
    this.#bytes = Buffer.alloc(descriptors.length * 8);
    for (const [index, fd] of descriptors.entries()) {
      this.#bytes.writeInt32LE(fd, index * 8);
      this.#bytes.writeInt16LE(POLLIN, index * 8 + 4);
    }
  }

  /** Waits until one of them is readable, in error or hung up. @returns those. -1 waits for ever. */
  wait(timeoutMs: number): number[] {
    const count = nativePoll(this.#bytes, this.#descriptors.length, timeoutMs);
    if (count <= 0) return [];
    return this.#descriptors.filter((_fd, index) => this.#bytes.readInt16LE(index * 8 + 6) !== 0);
  }
}

const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2000000;

/** A new event descriptor, the waker of a thread that sits in poll. */
export function eventDescriptor(): number {
  return check('eventfd', nativeEventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
}

const MS_RDONLY = 1;
const EINVAL = 22;

/**
 * Mounts a FUSE descriptor, read-only; with root's own mount(2), hence with set-uid files and devices as the
 * image has them (they matter to the container, whose overlay lies above).
 *
 * @throws {SystemCallError}
 */
export function mountFuse(fd: number, mountpoint: string, maxReadBytes: number): void {
  const data = `fd=${fd},rootmode=40755,user_id=0,group_id=0,allow_other,default_permissions,max_read=${maxReadBytes}`;
  check('mount', nativeMount('starlight', mountpoint, 'fuse.starlight', MS_RDONLY, data));
}

/** mount(2), read-only. @throws {SystemCallError} */
export function mountReadOnly(source: string, mountpoint: string, type: string, data = ''): void {
  check('mount', nativeMount(source, mountpoint, type, MS_RDONLY, data));
}

export const MNT_DETACH = 2;

/** Takes a mount away, off the main thread. EINVAL (no longer mounted) counts as done. */
export function unmount(mountpoint: string, flags: number): Promise<void> {
  return new Promise((resolve, reject) => {
    nativeUmount.async(mountpoint, flags, (error: unknown, result: number) => {
      // errno belongs to the thread that made the call and is lost here: a second, synchronous call tells.
      const errno = result === 0 || nativeUmount(mountpoint, flags) === 0 ? 0 : koffi.errno();
      if (error) reject(error);
      else if (errno === 0 || errno === EINVAL) resolve();
      else reject(new SystemCallError('umount2', errno));
    });
  });
}

const SYS_CLOSE_RANGE = 436;
const CLOSE_RANGE_CLOEXEC = 4;
const LAST_FD = 0xffffffff;

/**
 * Keeps every descriptor from `first` on from the children of this process, those it has inherited itself
 * too; what spawn() is told to pass on, it passes on. Does nothing before Linux 5.11.
 */
export function closeOnExec(first: number): void {
  nativeSyscall3(SYS_CLOSE_RANGE, first, LAST_FD, CLOSE_RANGE_CLOEXEC);
}

const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

/** A descriptor of the process `pid`. @throws {SystemCallError} */
export function openProcess(pid: number): number {
  return check('pidfd_open', nativeSyscall3(SYS_PIDFD_OPEN, pid, 0, 0));
}

/** A duplicate, in this process, of descriptor `fd` of the process `pidfd`. @throws {SystemCallError} */
export function takeDescriptor(pidfd: number, fd: number): number {
  return check('pidfd_getfd', nativeSyscall3(SYS_PIDFD_GETFD, pidfd, fd, 0));
}

function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, koffi.errno());
  return result;
}
