import { createHash } from 'node:crypto';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../../schemas/oci/digest.ts';
import { digestHex } from '../../schemas/oci/digest.ts';

/** Where the driver under test takes contents from: a directory, and arrivals that the test decides on. */
export class SampleContents {
  readonly directory: string;
  /** Everything that was asked for, in order. */
  readonly wanted: Digest[] = [];
  /** Wants whose signal was aborted before they were settled. */
  readonly abandoned: Digest[] = [];
  readonly #waiting = new Map<Digest, PromiseWithResolvers<string>>();
  readonly #watchers = new Set<() => void>();

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
  }

  pathOf(digest: Digest): string {
    const hex = digestHex(digest);
    return join(this.directory, hex.slice(0, 2), hex.slice(2));
  }

  /** Makes bytes visible, as a store does, and lets go of who waits for them. */
  put(bytes: Uint8Array): Digest {
    const digest = sha256(bytes);
    const path = this.pathOf(digest);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(`${path}.tmp`, bytes);
    renameSync(`${path}.tmp`, path);
    this.#waiting.get(digest)?.resolve(path);
    this.#waiting.delete(digest);
    return digest;
  }

  /** Ends the waits for a content without it. */
  giveUp(digest: Digest): void {
    this.#waiting.get(digest)?.reject(new Error('given up by the test'));
    this.#waiting.delete(digest);
  }

  want(digest: Digest, signal: AbortSignal): Promise<string> {
    this.wanted.push(digest);
    const wait = Promise.withResolvers<string>();
    this.#waiting.set(digest, wait);
    signal.addEventListener('abort', () => {
      if (this.#waiting.get(digest) === wait) {
        this.#waiting.delete(digest);
        this.abandoned.push(digest);
        wait.reject(signal.reason);
      }
      this.#changed();
    });
    this.#changed();
    return wait.promise;
  }

  /** Fulfils when `condition` holds; looked at after every want and every abandonment. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const look = () => {
        if (!condition()) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
    });
  }

  #changed(): void {
    for (const look of [...this.#watchers]) look();
  }
}

export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

/** Bytes that are no repetition of a short pattern: a wrong offset cannot pass for a right one. */
export function sampleBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let index = 0; index < length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[index] = state & 0xff;
  }
  return bytes;
}
