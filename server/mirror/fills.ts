import type { Digest } from '../../schemas/oci/digest.ts';
import type { BlobStore } from './blob-store.ts';
import type { MirrorCounters } from './counters.ts';
import { Fill } from './fill.ts';
import type { Space } from './space.ts';

/** Contents on their way at the same time, each with an open file; those that nobody reads make room. */
const MAX_FILLS = 512;

export interface FillsOptions {
  readonly store: BlobStore;
  readonly space: Space;
  readonly counters: MirrorCounters;
}

/** The contents on their way into one store, each under a key: the repository and the digest. */
export class Fills {
  readonly #options: FillsOptions;
  readonly #fills = new Map<string, Fill>();
  readonly #idle = new Set<string>();

  constructor(options: FillsOptions) {
    this.#options = options;
  }

  has(key: string): boolean {
    return this.#fills.has(key);
  }

  /** The one that there is, to be joined at once. */
  get(key: string): Fill | undefined {
    const fill = this.#fills.get(key);
    if (fill !== undefined) this.#claim(key);
    return fill;
  }

  /**
   * The one that there is or a new one, to be joined at once; undefined where none can be.
   *
   * @param onWrong told when its bytes turn out to be of another digest
   */
  open(key: string, digest: Digest, sizeBytes: number, onWrong: (actual: Digest) => void): Fill | undefined {
    const known = this.get(key);
    // A size that differs is another answer about the same digest: one of both is wrong.
    if (known !== undefined) return known.sizeBytes === sizeBytes ? known : undefined;
    const { store, space, counters } = this.#options;
    if (!store.writable || sizeBytes > space.maxBytes || !this.#makeRoom()) return undefined;
    const fill = new Fill({
      digest,
      sizeBytes,
      store,
      space,
      counters,
      onWrong,
      onIdle: () => this.#offer(key, fill),
      onEnd: () => this.#remove(key, fill),
    });
    this.#fills.set(key, fill);
    return fill;
  }

  /** Ends all of them. */
  async close(): Promise<void> {
    await Promise.all([...this.#fills.values()].map((fill) => fill.close()));
  }

  #makeRoom(): boolean {
    if (this.#fills.size < MAX_FILLS) return true;
    const [oldest] = this.#idle;
    if (oldest === undefined) return false;
    void this.#fills.get(oldest)?.close();
    return true;
  }

  #offer(key: string, fill: Fill): void {
    this.#idle.add(key);
    this.#options.space.offer(this.#spaceKey(key), {
      sizeBytes: fill.heldBytes,
      evict: () => void fill.close(),
    });
  }

  #claim(key: string): void {
    if (this.#idle.delete(key)) this.#options.space.claim(this.#spaceKey(key));
  }

  #remove(key: string, fill: Fill): void {
    if (this.#fills.get(key) !== fill) return;
    this.#claim(key);
    this.#fills.delete(key);
  }

  /** Unlike any file's path. */
  #spaceKey(key: string): string {
    return `fill\n${this.#options.store.dir}\n${key}`;
  }
}
