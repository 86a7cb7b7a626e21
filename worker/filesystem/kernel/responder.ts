/**
 * The thread that answers the kernel: it sits in poll(2) on the descriptors of all mounted trees and on the
 * waker, reads requests and writes replies. It never returns to its event loop while it runs; commands are
 * fetched from the port when the waker rings.
 */
import { readFileSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { Tree } from '../../../schemas/toc/tree.ts';
import { OpenTrace } from '../open-trace.ts';
import type { Command, MountId, Report } from './messages.ts';
import { ERRNO, encodeResend, REQUEST_BUFFER_BYTES } from './protocol.ts';
import { Session, type SessionPort } from './session.ts';
import { Spin } from './spin.ts';
import { PollSet, read, write } from './system-calls.ts';

/**
 * For how long a descriptor is read again and again after a request before the thread goes to sleep. Waking
 * it costs 20 to 60 µs, and a process that has asked once mostly asks again.
 */
const SPIN_MS = 0.05;
/** Requests of one mount in a row, before the others get their turn. */
const BATCH_LIMIT = 64;
/** How often an interrupted request is looked at again. */
const REAP_INTERVAL_MS = 100;
/** SIGKILL in the mask of pending signals. */
const SIGKILL_PENDING = 0x100n;

interface Mounted {
  readonly id: MountId;
  readonly fd: number;
  readonly session: Session;
}

export class Responder {
  readonly #port: MessagePort;
  readonly #waker: number;
  readonly #mounts = new Map<MountId, Mounted>();
  readonly #byDescriptor = new Map<number, Mounted>();
  readonly #poll = new PollSet();
  readonly #spin = new Spin();
  readonly #request = Buffer.from(new ArrayBuffer(REQUEST_BUFFER_BYTES));
  #stopped = false;

  constructor(port: MessagePort, waker: number) {
    this.#port = port;
    this.#waker = waker;
  }

  /** Serves until told to stop. */
  run(): void {
    this.#watch();
    this.#obey();
    while (!this.#stopped) {
      const reaping = [...this.#mounts.values()].filter(({ session }) => session.hasInterrupted);
      const ready = this.#poll.wait(reaping.length > 0 ? REAP_INTERVAL_MS : -1);
      for (const { session } of reaping) session.reap();
      for (const fd of ready) {
        if (fd === this.#waker) this.#obey();
        else this.#serve(fd);
      }
    }
    for (const { id } of [...this.#mounts.values()]) this.#forget(id);
  }

  #serve(fd: number): void {
    const mounted = this.#byDescriptor.get(fd);
    if (mounted === undefined) return;
    const alone = this.#mounts.size === 1;
    let idleSince = 0;
    for (let served = 0; served < BATCH_LIMIT || alone; ) {
      const length = read(fd, this.#request);
      if (length > 0) {
        if (idleSince > 0) this.#spin.found();
        mounted.session.handle(this.#request, length);
        served++;
        idleSince = 0;
      } else if (length === -ERRNO.EAGAIN) {
        const now = performance.now();
        if (idleSince === 0) {
          if (!this.#spin.worthwhile()) return;
          idleSince = now;
        } else if (now - idleSince > SPIN_MS) {
          this.#spin.missed();
          return;
        }
      } else if (length === -ERRNO.ENODEV || length === -ERRNO.ECONNABORTED || length === 0) {
        this.#forget(mounted.id);
        return;
      } else if (length !== -ERRNO.EINTR && length !== -ERRNO.ENOENT) {
        // ENOENT: the request was withdrawn between being chosen and being copied.
        this.#report({ type: 'fault', mount: mounted.id, message: `read of /dev/fuse: errno ${-length}` });
        this.#forget(mounted.id);
        return;
      }
      if (served >= BATCH_LIMIT && alone) {
        // The only mount keeps its turn, but the waker must be heard.
        served = 0;
        this.#obey();
        if (this.#stopped || !this.#mounts.has(mounted.id)) return;
      }
    }
  }

  #obey(): void {
    read(this.#waker, this.#request); // resets the counter; EAGAIN when it has not rung
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: Command } | undefined;
      if (received === undefined) return;
      this.#execute(received.message);
    }
  }

  #execute(command: Command): void {
    switch (command.type) {
      case 'add':
        this.#add(command);
        return;
      case 'answer':
        this.#mounts.get(command.mount)?.session.answer(command.unique, command.arrived);
        return;
      case 'remove':
        this.#forget(command.mount);
        return;
      case 'stop':
        this.#stopped = true;
        return;
      default:
        command satisfies never;
    }
  }

  #add(command: Extract<Command, { type: 'add' }>): void {
    const { mount, fd } = command;
    const tree = Tree.fromBuffers(command.tree);
    const port: SessionPort = {
      write: (bytes, length) => this.#write(mount, fd, bytes, length),
      want: (unique, content) => this.#report({ type: 'want', mount, unique, content }),
      leave: (unique) => this.#report({ type: 'leave', mount, unique }),
      opened: (inode) => this.#report({ type: 'opened', mount, inode }),
      ready: (negotiated) => this.#report({ type: 'ready', mount, negotiated }),
      fault: (error) => this.#report({ type: 'fault', mount, message: messageOf(error) }),
      isKilled,
    };
    const contents = { tree, directory: command.directory, trace: new OpenTrace(command.trace) };
    const mounted: Mounted = { id: mount, fd, session: new Session(contents, port) };
    this.#mounts.set(mount, mounted);
    this.#byDescriptor.set(fd, mounted);
    this.#watch();
    if (!command.adopted) return;
    const resend = encodeResend();
    const sent = write(fd, resend, resend.length);
    if (sent < 0) {
      // Before Linux 6.9: what the dead process had taken stays unanswered until its askers are killed.
      this.#report({ type: 'fault', mount, message: `RESEND is not understood: errno ${-sent}` });
    }
    this.#report({ type: 'ready', mount, negotiated: undefined });
  }

  #write(mount: MountId, fd: number, bytes: Uint8Array, length: number): void {
    const written = write(fd, bytes, length);
    if (written === length) return;
    // ENOENT: the asker is gone already. ENODEV: the mount is; the next read tells.
    const usual = written === -ERRNO.ENOENT || written === -ERRNO.ENODEV || written === -ERRNO.ENOTCONN;
    if (!usual) this.#report({ type: 'fault', mount, message: `write to /dev/fuse: ${written}` });
  }

  #forget(id: MountId): void {
    const mounted = this.#mounts.get(id);
    if (mounted === undefined) return;
    this.#mounts.delete(id);
    this.#byDescriptor.delete(mounted.fd);
    this.#watch();
    mounted.session.close();
    this.#report({ type: 'gone', mount: id });
  }

  #watch(): void {
    this.#poll.set([this.#waker, ...this.#byDescriptor.keys()]);
  }

  #report(report: Report): void {
    this.#port.postMessage(report);
  }
}

/** True when SIGKILL is pending for that thread, or it is gone altogether. */
function isKilled(threadId: number): boolean {
  try {
    const status = readFileSync(`/proc/${threadId}/status`, 'latin1');
    const pending = /^SigPnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
    return (BigInt(`0x${pending}`) & SIGKILL_PENDING) !== 0n;
  } catch (error) {
    return ['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '');
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
