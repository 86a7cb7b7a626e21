import { type FileHandle, open, rm } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { type Digest, Digester, digestAlgorithm } from '../../schemas/oci/digest.ts';
import { BLOCK_BYTES, BlockMap, blockEnd, blockStart, planSpan, type Span } from './block-map.ts';
import type { BlobStore } from './blob-store.ts';
import type { MirrorCounters } from './counters.ts';
import { isRefusal, MirrorError } from './mirror-error.ts';
import type { Space } from './space.ts';

/** Requests to the upstream for one content at the same time. */
const MAX_RUNS = 4;
/** A reader so close behind what a request has brought waits for it; one further ahead may have its own. */
const NEAR_BYTES = 8 << 20;
/**
 * Only a request of which more than this is missing is shortened for that: what is on the wire by then is sent for
 * nothing.
 */
const SHORTENED_BYTES = 32 << 20;
/** Each further request for the same content asks for twice as much at least, up to this. */
const MAX_AHEAD_BYTES = 16 << 20;
/** A request that nobody waits for any more is finished where so little is missing, or half of it has come. */
const FINISH_BYTES = 16 << 20;
/** How long that is put off: a client that was cut off comes back. */
const LINGER_MS = 1_000;
/** A body that breaks off is taken up again where it stopped, as long as each attempt brings something. */
const MAX_ATTEMPTS = 4;
const READ_BYTES = 256 << 10;

/**
 * Asks the upstream, as one caller, for bytes `start` up to and excluding `end`; yields the body that begins at
 * `start`. @throws {MirrorError | RegistryError}
 */
export type FillSource = (
  start: number,
  end: number,
  signal: AbortSignal,
) => Promise<AsyncIterable<Uint8Array>>;

interface Run {
  readonly start: number;
  /** Drawn back when a reader far ahead gets a request of its own. */
  end: number;
  /** Up to here its bytes are in the file. */
  arrived: number;
  readonly source: FillSource;
  readonly controller: AbortController;
  failure: unknown;
  /** Given up since nobody waited for it: no failure to whoever comes meanwhile. */
  dropped: boolean;
}

export interface FillOptions {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly store: BlobStore;
  readonly space: Space;
  readonly counters: MirrorCounters;
  /** Nobody uses it and nothing is on its way: what is there may be kept, and `evict()`ed. */
  readonly onIdle: (fill: Fill) => void;
  /** Its bytes are not those of the digest: what the upstream said of it is worth nothing. */
  readonly onWrong: (actual: Digest) => void;
  /** It is over: kept whole in the store, or given up. */
  readonly onEnd: (fill: Fill) => void;
}

/**
 * A content on its way into the cache. Its blocks come in any order, each fetched once, by requests ("runs") of
 * whichever reader first needs them; all readers read the one file that grows. Until all blocks are there and
 * their digest is proven, nothing of it is more than what an upstream said: it serves only callers who have proven
 * their right to this digest in this repository of this upstream, and never outlives the process.
 */
export class Fill {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly #options: FillOptions;
  readonly #blocks: BlockMap;
  readonly #runs = new Set<Run>();
  readonly #path: string;
  #file: Promise<FileHandle> | undefined;
  #digester: Digester;
  #hashedTo = 0;
  #heldBytes = 0;
  #requests = 0;
  #users = 0;
  #lingering: NodeJS.Timeout | undefined;
  #changed = Promise.withResolvers<void>();
  #failure: unknown;
  #verified = false;
  #proving: Promise<void> | undefined;
  #closed = false;
  #removed: Promise<void> | undefined;
  #letGo: (() => void) | undefined;

  constructor(options: FillOptions) {
    this.#options = options;
    this.digest = options.digest;
    this.sizeBytes = options.sizeBytes;
    this.#blocks = new BlockMap(options.sizeBytes);
    this.#digester = new Digester(digestAlgorithm(options.digest));
    this.#path = options.store.temporaryFile();
  }

  /** What is counted of the disk for it. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Its bytes were proven to be of the digest. */
  get verified(): boolean {
    return this.#verified;
  }

  /** Whoever reads says so first. @returns says that it no longer does */
  join(): () => void {
    this.#users += 1;
    clearTimeout(this.#lingering);
    let joined = true;
    return () => {
      if (!joined) return;
      joined = false;
      this.#users -= 1;
      this.#afterLeaving();
    };
  }

  /**
   * Starts with a body that is on its way already, begins at 0 and ends with `controller`.
   *
   * @returns false where there is no room; the body is then still the caller's
   */
  feed(body: Readable, controller: AbortController, source: FillSource): boolean {
    if (!this.#options.space.reserve(this.sizeBytes)) return false;
    this.#start({ start: 0, end: this.sizeBytes }, source, controller, body);
    return true;
  }

  /**
   * Waits until the byte at `offset` is there, fetching it and what follows up to `wantedEnd` where nobody does.
   *
   * @returns the end of what is there from `offset` on
   * @throws {MirrorError | RegistryError} and the signal's reason
   */
  async ready(offset: number, wantedEnd: number, source: FillSource, signal: AbortSignal): Promise<number> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      const to = this.#thereTo(offset);
      if (to > offset) return to;
      const changed = this.#changed.promise;
      const run = this.#runAt(offset) ?? this.#fetch(offset, wantedEnd, source);
      await changed;
      if (run?.failure === undefined || run.dropped) continue;
      // Of another's refusal nothing follows for this caller, who then asks for itself.
      if (run.source === source || !isRefusal(run.failure)) throw run.failure;
    }
  }

  /** Waits until the whole is proven. All blocks must be there or on their way. */
  async whenVerified(signal: AbortSignal): Promise<void> {
    while (!this.#verified) {
      signal.throwIfAborted();
      if (this.#failure !== undefined) throw this.#failure;
      const changed = this.#changed.promise;
      if (this.#blocks.complete) this.#verify();
      await changed;
    }
  }

  /** Reads bytes of which `ready` said that they are there; at most 256 KiB. */
  async read(start: number, end: number): Promise<Uint8Array> {
    const file = await this.#opened();
    const length = Math.min(end - start, READ_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, start);
    if (bytesRead === 0) throw this.#giveUp(new Error('a file of the mirror cache is shorter than written'));
    return buffer.subarray(0, bytesRead);
  }

  /** Ends it, and resolves when what was there is off the disk, or in the store if it was proven already. */
  async close(): Promise<void> {
    if (!this.#verified) this.#fail(new MirrorError({ kind: 'not-kept' }));
    await this.#proving;
    await this.#removed;
  }

  #thereTo(offset: number): number {
    let at = offset;
    for (;;) {
      const before = at;
      at = this.#blocks.presentTo(at);
      for (const run of this.#runs) if (run.start <= at && at < run.arrived) at = run.arrived;
      if (at === before) return at;
    }
  }

  #runAt(offset: number): Run | undefined {
    for (const run of this.#runs) {
      if (offset < run.start || offset >= run.end) continue;
      const waits = offset - run.arrived <= NEAR_BYTES || run.end - run.arrived <= SHORTENED_BYTES;
      if (waits || this.#runs.size >= MAX_RUNS) return run;
      const end = blockStart(offset);
      this.#options.space.release(run.end - end);
      this.#heldBytes -= run.end - end;
      run.end = end;
      return undefined;
    }
    return undefined;
  }

  /** @returns undefined where so many requests are under way that this one has to wait. */
  #fetch(offset: number, wantedEnd: number, source: FillSource): Run | undefined {
    if (this.#runs.size >= MAX_RUNS) return undefined;
    const atLeastBytes = Math.min(BLOCK_BYTES * 2 ** this.#requests, MAX_AHEAD_BYTES);
    const span = planSpan(this.#blocks, this.#runs, { offset, wantedEnd, atLeastBytes });
    if (!this.#options.space.reserve(span.end - span.start)) throw new MirrorError({ kind: 'not-kept' });
    return this.#start(span, source, new AbortController());
  }

  #start({ start, end }: Span, source: FillSource, controller: AbortController, body?: Readable): Run {
    const run: Run = { start, end, arrived: start, source, controller, failure: undefined, dropped: false };
    this.#heldBytes += end - start;
    this.#requests += 1;
    this.#runs.add(run);
    void this.#drive(run, body);
    return run;
  }

  async #drive(run: Run, first: AsyncIterable<Uint8Array> | undefined): Promise<void> {
    const { signal } = run.controller;
    let body = first;
    try {
      for (let attempt = 1; ; attempt += 1) {
        const before = run.arrived;
        try {
          const askedEnd = run.end;
          body ??= await run.source(run.arrived, askedEnd, signal);
          await this.#take(run, body, askedEnd);
          break;
        } catch (error) {
          const worthwhile = run.arrived > before && attempt < MAX_ATTEMPTS;
          if (signal.aborted || this.#failure !== undefined || isRefusal(error) || !worthwhile) throw error;
          body = undefined;
        }
      }
    } catch (error) {
      run.failure = error;
    }
    this.#runs.delete(run);
    run.controller.abort(); // lets go of a body that was not read to its end
    if (!this.#closed) {
      const lostBytes = run.end - run.start - this.#blocks.presentBytes(run);
      this.#heldBytes -= lostBytes;
      this.#options.space.release(lostBytes);
    }
    if (this.#blocks.complete && this.#failure === undefined) this.#verify();
    this.#wake();
    this.#afterLeaving();
  }

  /** Writes what comes. @throws where the body ends too early. */
  async #take(run: Run, body: AsyncIterable<Uint8Array>, askedEnd: number): Promise<void> {
    const file = await this.#opened();
    for await (const chunk of body) {
      run.controller.signal.throwIfAborted();
      const bytes = chunk.subarray(0, run.end - run.arrived);
      this.#options.counters.contentBytes += chunk.byteLength;
      await this.#write(file, bytes, run.arrived);
      if (this.#hashedTo === run.arrived) {
        this.#digester.update(bytes);
        this.#hashedTo += bytes.byteLength;
      }
      const before = run.arrived;
      run.arrived += bytes.byteLength;
      for (let at = blockStart(before); at < run.arrived; at = blockEnd(at, this.sizeBytes)) {
        if (blockEnd(at, this.sizeBytes) <= run.arrived) this.#blocks.add(at);
      }
      this.#wake();
      // One that was drawn back, or is longer than asked for, is let go of. Any other is read to its end, which
      // keeps its connection.
      if (run.arrived >= run.end && (run.end < askedEnd || bytes.byteLength < chunk.byteLength)) return;
    }
    if (run.arrived < run.end) throw new MirrorError({ kind: 'protocol', reason: 'a body ended too early' });
  }

  async #write(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await file.write(bytes, done, bytes.byteLength - done, position + done);
        done += bytesWritten;
      }
    } catch (error) {
      throw this.#giveUp(error);
    }
  }

  async #opened(): Promise<FileHandle> {
    if (this.#closed && this.#file === undefined) throw new MirrorError({ kind: 'not-kept' });
    this.#file ??= open(this.#path, 'wx+', 0o600);
    try {
      return await this.#file;
    } catch (error) {
      throw this.#giveUp(error);
    }
  }

  #verify(): void {
    this.#proving ??= this.#prove();
  }

  /** Does not throw. */
  async #prove(): Promise<void> {
    const { onWrong, store } = this.#options;
    const leave = this.join();
    try {
      while (this.#hashedTo < this.sizeBytes) {
        const bytes = await this.read(this.#hashedTo, this.sizeBytes);
        this.#digester.update(bytes);
        this.#hashedTo += bytes.byteLength;
      }
      const actual = this.#digester.digest();
      if (actual !== this.digest) {
        onWrong(actual);
        this.#fail(new MirrorError({ kind: 'wrong-digest', actual }));
        return;
      }
      // Readers may end now; that the file is synced and renamed is nothing to them.
      this.#verified = true;
      this.#wake();
      const file = await this.#opened();
      this.#letGo = await store.adopt(this.digest, this.#path, file, this.#heldBytes);
      this.#heldBytes = 0;
      this.#closed = true;
      this.#options.onEnd(this);
    } catch (error) {
      if (!this.#closed) this.#giveUp(error);
    } finally {
      leave();
    }
  }

  /** The disk is in trouble. @returns what readers are to be told: that they must read the upstream itself. */
  #giveUp(error: unknown): MirrorError {
    const failure = new MirrorError({ kind: 'not-kept' }, { cause: error });
    if (!this.#closed && this.#failure === undefined) {
      this.#options.store.diskFailed(error);
      this.#fail(failure);
    }
    return failure;
  }

  #fail(failure: MirrorError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failure = failure;
    for (const run of this.#runs) run.controller.abort(failure);
    this.#options.space.release(this.#heldBytes);
    this.#heldBytes = 0;
    this.#options.onEnd(this);
    this.#wake();
    this.#removed = this.#remove();
    this.#afterLeaving();
  }

  async #remove(): Promise<void> {
    try {
      await this.#file?.catch(() => undefined); // it would make the file after we removed it
      await rm(this.#path, { force: true });
    } catch (error) {
      this.#options.store.diskFailed(error);
    }
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    changed.resolve();
  }

  #afterLeaving(): void {
    if (this.#users > 0) return;
    if (this.#closed) {
      if (this.#runs.size === 0) this.#closeFile();
      return;
    }
    clearTimeout(this.#lingering);
    this.#lingering = setTimeout(() => this.#whenLeft(), LINGER_MS);
    this.#lingering.unref();
  }

  #whenLeft(): void {
    if (this.#users > 0 || this.#closed) return;
    for (const run of this.#runs) {
      const mostlyDone = run.end - run.arrived <= FINISH_BYTES || run.arrived * 2 >= run.start + run.end;
      if (mostlyDone) continue;
      run.dropped = true;
      run.controller.abort(new DOMException('nobody waits for this any more', 'AbortError'));
    }
    if (this.#runs.size > 0) return;
    if (this.#heldBytes === 0) void this.close();
    else this.#options.onIdle(this);
  }

  #closeFile(): void {
    const file = this.#file;
    this.#file = undefined;
    this.#letGo?.();
    this.#letGo = undefined;
    file?.then((handle) => handle.close()).catch((error: unknown) => this.#options.store.diskFailed(error));
  }
}
