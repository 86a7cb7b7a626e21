import type { EmbeddedRegistry } from './embedded-registry.ts';

/** An upload outlives its age by a quarter of it at most, and by this. */
const MAX_PAUSE_MS = 600_000;
const MIN_PAUSE_MS = 1_000;

export interface UploadSweepOptions {
  readonly uploadAgeMs: number;
  readonly onRemoved: (uploads: number) => void;
  readonly onError: (error: unknown) => void;
}

/** Removes abandoned uploads, at once and from time to time. */
export class UploadSweep implements AsyncDisposable {
  readonly #registry: EmbeddedRegistry;
  readonly #options: UploadSweepOptions;
  readonly #closed = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;

  constructor(registry: EmbeddedRegistry, options: UploadSweepOptions) {
    this.#registry = registry;
    this.#options = options;
    const pauseMs = Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, Math.floor(options.uploadAgeMs / 4)));
    this.#timer = setInterval(() => this.#start(), pauseMs);
    this.#timer.unref();
    this.#start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#closed.abort();
    await this.#running;
  }

  #start(): void {
    this.#running ??= this.#sweep().finally(() => {
      this.#running = undefined;
    });
  }

  async #sweep(): Promise<void> {
    const { signal } = this.#closed;
    try {
      const removed = await this.#registry.sweepUploads(signal);
      if (removed > 0) this.#options.onRemoved(removed);
    } catch (error) {
      if (!signal.aborted) this.#options.onError(error);
    }
  }
}
