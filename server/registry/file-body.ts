import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';

/** What one read takes at most. */
const READ_BYTES = 256 << 10;

/**
 * A part of a file as the body of an answer: a stream like any other, and where nothing has read from it yet, a file
 * that can be sent without being read ({@link import('../sendfile/file-sender.ts').FileSender}).
 *
 * Takes the handle over and closes it when it ends or is destroyed.
 */
export class FileBody extends Readable {
  readonly handle: FileHandle;
  readonly start: number;
  readonly sizeBytes: number;
  #readBytes = 0;
  #touched = false;

  /** Bytes `start` up to `start + sizeBytes`. A file that is shorter ends the stream with an error. */
  constructor(handle: FileHandle, start: number, sizeBytes: number) {
    super({ highWaterMark: READ_BYTES, autoDestroy: true });
    this.handle = handle;
    this.start = start;
    this.sizeBytes = sizeBytes;
  }

  /** Somebody reads it as a stream. */
  get isTouched(): boolean {
    return this.#touched;
  }

  override _read(): void {
    this.#touched = true;
    const wanted = Math.min(READ_BYTES, this.sizeBytes - this.#readBytes);
    if (wanted === 0) {
      this.push(null);
      return;
    }
    const buffer = Buffer.allocUnsafeSlow(wanted);
    this.handle.read(buffer, 0, wanted, this.start + this.#readBytes).then(
      ({ bytesRead }) => {
        if (this.destroyed) return;
        if (bytesRead === 0) {
          this.destroy(new Error(`the file ends ${this.sizeBytes - this.#readBytes} bytes too early`));
          return;
        }
        this.#readBytes += bytesRead;
        this.push(bytesRead === wanted ? buffer : buffer.subarray(0, bytesRead));
      },
      (error: Error) => this.destroy(error),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.handle.close().then(
      () => callback(error),
      (failure: Error) => callback(error ?? failure),
    );
  }
}
