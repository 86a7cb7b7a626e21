import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';

const READ_BYTES = 64 << 10;

/**
 * A file for a while: it loses its name as soon as it is open, so that its room is free again when the process ends,
 * however it ends, and there is nothing to be tidied up after it.
 */
export class ScratchFile implements AsyncDisposable {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** An empty one on the file system of `directory`. @throws the system's error */
  static async open(directory: string): Promise<ScratchFile> {
    const path = join(directory, `starlight-${randomUUID()}.tmp`);
    const handle = await open(path, 'wx+', 0o600);
    try {
      await unlink(path);
    } catch (error) {
      await handle.close();
      throw error;
    }
    return new ScratchFile(handle);
  }

  /** @throws the system's error, as where the disk is full */
  async append(bytes: Uint8Array): Promise<void> {
    await this.#handle.appendFile(bytes);
  }

  /** All that has been appended, from the beginning; as often as one likes, also at once. */
  async *bytes(): AsyncGenerator<Uint8Array, void> {
    for (let at = 0; ; ) {
      const { bytesRead, buffer } = await this.#handle.read(
        Buffer.allocUnsafeSlow(READ_BYTES),
        0,
        READ_BYTES,
        at,
      );
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }

  /** Frees its room. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}
