import { closeSync } from 'node:fs';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Command, Ended, Pace, ThreadData } from './messages.ts';
import { Epoll, ERRNO, hush, sendfile, unacknowledgedBytes } from './system-calls.ts';

/** What one connection is given before the next one has its turn; the kernel takes less where its buffer is full. */
const TURN_BYTES = 8 << 20;
/** It is looked for clients that take too little this often, or a few times in the time that they have. */
const LOOK_MS = 1000;
const LOOKS_PER_GRACE = 4;

interface Sending {
  readonly id: number;
  readonly socketFd: number;
  readonly fileFd: number;
  position: number;
  leftBytes: number;
  /** Since when it is counted what the client takes, and how many bytes were left for it to take then. */
  countedFromMs: number;
  countedFromBytes: number;
}

/**
 * Sends files to sockets in a thread of its own, all at once, each as fast as its client takes it: sendfile(2) hands
 * the page cache's pages to the network, so that no byte passes through this process. Sits in epoll_wait(2) and
 * never returns to the thread's event loop while it runs.
 */
export class Sender {
  readonly #port: MessagePort;
  readonly #waker: number;
  readonly #pace: Pace;
  readonly #lookMs: number;
  readonly #epoll = new Epoll();
  readonly #byId = new Map<number, Sending>();
  readonly #bySocket = new Map<number, Sending>();
  #stopped = false;

  constructor(port: MessagePort, { waker, pace }: ThreadData) {
    this.#port = port;
    this.#waker = waker;
    this.#pace = pace;
    this.#lookMs = pace.graceMs === 0 ? LOOK_MS : Math.min(LOOK_MS, pace.graceMs / LOOKS_PER_GRACE);
  }

  /** Works until told to stop; then everything still under way is cut. */
  run(): void {
    this.#epoll.add(this.#waker, 'readable');
    this.#obey();
    let lookedAtMs = performance.now();
    while (!this.#stopped) {
      const ready = this.#epoll.wait(this.#byId.size === 0 ? -1 : Math.ceil(this.#lookMs));
      for (let row = 0; row < ready; row += 1) {
        const fd = this.#epoll.descriptor(row);
        if (fd === this.#waker) this.#obey();
        else this.#move(fd);
      }
      const nowMs = performance.now();
      if (nowMs - lookedAtMs < this.#lookMs) continue;
      lookedAtMs = nowMs;
      this.#giveUpSlow(nowMs);
    }
    for (const sending of [...this.#byId.values()]) this.#end(sending, 'cancelled');
    closeSync(this.#epoll.fd);
  }

  #obey(): void {
    hush(this.#waker);
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: Command } | undefined;
      if (received === undefined) return;
      this.#execute(received.message);
    }
  }

  #execute(command: Command): void {
    switch (command.type) {
      case 'send':
        this.#begin(command);
        return;
      case 'cancel': {
        const sending = this.#byId.get(command.id);
        if (sending !== undefined) this.#end(sending, 'cancelled');
        return;
      }
      case 'stop':
        this.#stopped = true;
        return;
      default:
        command satisfies never;
    }
  }

  #begin({ id, socketFd, fileFd, position, sizeBytes }: Extract<Command, { type: 'send' }>): void {
    const sending: Sending = {
      ...{ id, socketFd, fileFd, position },
      leftBytes: sizeBytes,
      countedFromMs: performance.now(),
      countedFromBytes: sizeBytes,
    };
    this.#byId.set(id, sending);
    this.#bySocket.set(socketFd, sending);
    try {
      this.#epoll.add(socketFd, 'writable');
    } catch {
      this.#end(sending, 'connection-lost');
      return;
    }
    this.#move(socketFd); // there is room, almost always
  }

  #move(fd: number): void {
    const sending = this.#bySocket.get(fd);
    if (sending === undefined) return; // it ended in this very round
    const count = Math.min(sending.leftBytes, TURN_BYTES);
    const sent = count === 0 ? 0 : sendfile(sending.socketFd, sending.fileFd, sending.position, count);
    if (sent === -ERRNO.EAGAIN || sent === -ERRNO.EINTR) return;
    if (sent < 0) this.#end(sending, 'connection-lost');
    else if (sent === 0 && count > 0) this.#end(sending, 'file-too-short');
    else this.#advance(sending, sent);
  }

  #advance(sending: Sending, sentBytes: number): void {
    sending.position += sentBytes;
    sending.leftBytes -= sentBytes;
    if (sending.leftBytes === 0) this.#end(sending, 'sent');
  }

  /** What counts is what has reached the client: the kernel takes megabytes at once, and then nothing for minutes. */
  #giveUpSlow(nowMs: number): void {
    const { bytesPerS, graceMs } = this.#pace;
    if (graceMs === 0) return;
    for (const sending of [...this.#byId.values()]) {
      const elapsedMs = nowMs - sending.countedFromMs;
      if (elapsedMs < graceMs) continue;
      const leftBytes = sending.leftBytes + unacknowledgedBytes(sending.socketFd);
      const takenBytes = sending.countedFromBytes - leftBytes;
      if (takenBytes < Math.max(1, (bytesPerS * elapsedMs) / 1000)) this.#end(sending, 'too-slow');
      sending.countedFromMs = nowMs;
      sending.countedFromBytes = leftBytes;
    }
  }

  #end(sending: Sending, outcome: Ended['outcome']): void {
    this.#byId.delete(sending.id);
    this.#bySocket.delete(sending.socketFd);
    this.#epoll.remove(sending.socketFd);
    closeSync(sending.socketFd);
    this.#port.postMessage({ id: sending.id, outcome } satisfies Ended);
  }
}
