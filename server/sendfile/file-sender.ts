import { closeSync, writeSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { finished } from 'node:stream/promises';
import { TLSSocket } from 'node:tls';
import { Worker } from 'node:worker_threads';
import type { FileBody } from '../registry/file-body.ts';
import type { Command, Ended, Pace, ThreadData } from './messages.ts';

/** Below this a file is read and written as any body is: going through another thread costs more. */
const LEAST_BYTES = 64 << 10;
const RING = Buffer.from(new BigUint64Array([1n]).buffer);

type SystemCalls = typeof import('./system-calls.ts');

/** A body that broke off: the connection must be cut, since only that tells the client. */
export class FileSendError extends Error {
  readonly outcome: Exclude<Ended['outcome'], 'sent'>;

  constructor(outcome: Exclude<Ended['outcome'], 'sent'>) {
    super(`sending a file ended early: ${outcome}`);
    this.name = 'FileSendError';
    this.outcome = outcome;
  }
}

/**
 * Sends the bodies of answers that are files without reading them into this process (sendfile(2)), in one thread for
 * all. Needs Linux and koffi, and a connection without TLS; what cannot be sent so is left to the caller.
 *
 * The thread uses descriptors of its own for the sockets (dup(2)): the number of a socket that Node closes meanwhile
 * may at once be that of another client's.
 */
export class FileSender {
  readonly #calls: SystemCalls;
  readonly #waker: number;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  readonly #waiting = new Map<number, (outcome: Ended['outcome']) => void>();
  readonly #onProcessExit = () => this.#tell({ type: 'stop' });
  #nextId = 1;
  #ended = false;

  private constructor(calls: SystemCalls, pace: Pace, onDeath: (error: unknown) => void) {
    this.#calls = calls;
    this.#waker = calls.eventDescriptor();
    const workerData: ThreadData = { waker: this.#waker, pace };
    this.#worker = new Worker(new URL('./sender-thread.ts', import.meta.url), {
      workerData,
      name: 'starlight-sendfile',
      // It closes descriptors that were opened here.
      trackUnmanagedFds: false,
    });
    this.#worker.on('message', ({ id, outcome }: Ended) => this.#hear(id, outcome));
    this.#worker.on('error', onDeath);
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve(this.#finish())));
    // The thread sits in a system call, where process.exit() would wait for it for ever.
    process.on('exit', this.#onProcessExit);
    this.#worker.unref();
  }

  /**
   * @param pace a client that takes less is cut.
   * @param onDeath is told why the thread died; everything is sent the other way from then on.
   * @returns undefined where this machine cannot do it, with the reason told to `onMissing`.
   */
  static async create(
    pace: Pace,
    onDeath: (error: unknown) => void,
    onMissing: (reason: unknown) => void,
  ): Promise<FileSender | undefined> {
    try {
      if (process.platform !== 'linux') throw new Error(`sendfile is not done on ${process.platform}`);
      return new FileSender(await import('./system-calls.ts'), pace, onDeath);
    } catch (error) {
      onMissing(error);
      return undefined;
    }
  }

  /**
   * Sends a file as the body of `response`, whose head is written, and ends the response.
   *
   * @returns false where it must be sent some other way; nothing was sent or closed then.
   * @throws {FileSendError} where it broke off; the signal's reason.
   */
  async send(body: FileBody, response: ServerResponse, signal: AbortSignal): Promise<boolean> {
    const { socket } = response;
    const socketFd = plainDescriptor(socket);
    if (this.#ended || body.sizeBytes < LEAST_BYTES || body.isTouched) return false;
    if (socket === null || socketFd === undefined) return false;
    response.flushHeaders();
    // Behind what Node still has to write nothing may be sent past it.
    if (socket.writableLength > 0) await new Promise<void>((resolve) => socket.write('', () => resolve()));
    if (socket.destroyed || signal.aborted) {
      signal.throwIfAborted();
      throw new FileSendError('connection-lost');
    }
    const idleMs = socket.timeout ?? 0;
    socket.setTimeout(0); // Node does not see what moves; the thread looks for clients that take nothing
    const outcome = await this.#sent(body, socketFd, signal);
    body.destroy();
    await finished(body, { error: false }).catch(() => undefined); // cut short: it knows no better end
    if (outcome !== 'sent') {
      signal.throwIfAborted();
      throw new FileSendError(outcome);
    }
    socket.setTimeout(idleMs);
    await new Promise<void>((resolve) => response.end(resolve));
    return true;
  }

  /** Ends the thread; what is still being sent is cut. */
  async close(): Promise<void> {
    if (!this.#ended) this.#tell({ type: 'stop' });
    this.#worker.ref();
    await this.#exited;
  }

  async #sent(body: FileBody, socketFd: number, signal: AbortSignal): Promise<Ended['outcome']> {
    const id = this.#nextId++;
    const cancel = () => this.#tell({ type: 'cancel', id });
    const ended = new Promise<Ended['outcome']>((resolve) => this.#waiting.set(id, resolve));
    this.#tell({
      type: 'send',
      id,
      socketFd: this.#calls.duplicate(socketFd),
      fileFd: body.handle.fd,
      position: body.start,
      sizeBytes: body.sizeBytes,
    });
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await ended;
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  #tell(command: Command): void {
    if (this.#ended) return;
    this.#worker.postMessage(command);
    writeSync(this.#waker, RING);
  }

  #hear(id: number, outcome: Ended['outcome']): void {
    this.#waiting.get(id)?.(outcome);
    this.#waiting.delete(id);
  }

  #finish(): void {
    this.#ended = true;
    process.off('exit', this.#onProcessExit);
    for (const id of [...this.#waiting.keys()]) this.#hear(id, 'cancelled');
    closeSync(this.#waker);
  }
}

/** The descriptor of a connection without TLS; undefined where Node does not tell. */
function plainDescriptor(socket: Socket | null): number | undefined {
  if (!(socket instanceof Socket) || socket instanceof TLSSocket) return undefined;
  // Not documented, and as it is since Node 0.10; where it is not, the file is sent the other way.
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: unknown } | null };
  return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined;
}
