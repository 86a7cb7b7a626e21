import { closeSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { FileSystemLog } from '../driver.ts';
import { FileSystemError } from '../error.ts';
import type { Command, MountId, Report, ResponderStart } from './messages.ts';
import { eventDescriptor } from './system-calls.ts';

const RING = Buffer.from(new BigUint64Array([1n]).buffer);

export type ReportListener = (report: Report) => void;

/**
 * The main thread's end of the responder thread, one for all mounts of the process.
 *
 * The thread sits in a blocking system call, out of reach of `terminate()`, so `process.exit()` would wait
 * for it for ever: the handle stops it on the `exit` event.
 */
export class ResponderHandle {
  readonly #worker: Worker;
  readonly #waker: number;
  readonly #listeners = new Map<MountId, ReportListener>();
  readonly #exited: Promise<void>;
  readonly #onProcessExit = () => this.#tell({ type: 'stop' });
  #nextMount: MountId = 1;
  #ended = false;

  constructor(log: FileSystemLog) {
    this.#waker = eventDescriptor();
    const workerData: ResponderStart = { waker: this.#waker };
    this.#worker = new Worker(new URL('./responder-thread.ts', import.meta.url), {
      workerData,
      name: 'starlight-fs',
    });
    this.#worker.on('message', (report: Report) => this.#listeners.get(report.mount)?.(report));
    this.#worker.on('error', (error) => log.error({ error }, 'the responder thread of the file system died'));
    process.on('exit', this.#onProcessExit);
    this.#exited = new Promise((resolve) => this.#worker.once('exit', () => resolve(this.#finish())));
    this.#worker.unref();
  }

  /** Registers a mount; its reports come to `listener` until `release`. */
  register(listener: ReportListener): MountId {
    if (this.#ended) throw new FileSystemError({ kind: 'closed' });
    const mount = this.#nextMount++;
    this.#listeners.set(mount, listener);
    return mount;
  }

  release(mount: MountId): void {
    this.#listeners.delete(mount);
  }

  tell(command: Command): void {
    if (!this.#ended) this.#tell(command);
  }

  /** Keeps the process alive for as long as `work` runs, which waits for the thread. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#worker.ref();
    try {
      return await work;
    } finally {
      this.#worker.unref();
    }
  }

  /** Stops the thread; fulfils when it is gone. Its mounts stay mounted and are answered no more. */
  async stop(): Promise<void> {
    this.tell({ type: 'stop' });
    this.#worker.ref();
    await this.#exited;
  }

  #tell(command: Command): void {
    this.#worker.postMessage(command);
    writeSync(this.#waker, RING);
  }

  /** The thread is gone: every mount hears it, as if the kernel had ended it. */
  #finish(): void {
    this.#ended = true;
    process.off('exit', this.#onProcessExit);
    for (const [mount, listener] of [...this.#listeners]) listener({ type: 'gone', mount });
    this.#listeners.clear();
    closeSync(this.#waker);
  }
}
