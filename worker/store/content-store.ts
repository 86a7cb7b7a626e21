import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { mkdir, open, readdir, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { whenAborted } from '../../schemas/concurrency/when-aborted.ts';
import { syncDirectory } from '../../schemas/disk/durable-file.ts';
import { type Digest, digestHex, digestOf } from '../../schemas/oci/digest.ts';
import { Arrivals } from './arrivals.ts';
import { asStoreError, StoreError } from './store-error.ts';
import { Turns } from './turns.ts';
import { diskBytesOf, type StoreUsage, UsageCount } from './usage-count.ts';

/**
 * Contents up to this size are written on the spot: a thread would be asked three times for each, which takes
 * longer than the writing. They go to the page cache only, nothing waits for a disk.
 */
const ON_THE_SPOT_LIMIT_BYTES = 64 * 1024;

/**
 * When bytes are forced to the disk: `none` leaves it to the kernel; `image` once, before an image counts as
 * complete; `content` for every content before it becomes visible (slow on a spinning disk).
 */
export type FsyncPolicy = 'none' | 'image' | 'content';

export type ContentStoreOptions = { readonly fsync: FsyncPolicy };

/**
 * The contents of all images by sha256, each a file `contents/sha256/<2 hex>/<62 hex>` under the root. A file
 * that is there is complete and was verified: it was written under a temporary name, its size and digest
 * checked, and then renamed. Nothing about contents is held in memory except who waits for them and what they
 * take up in all.
 */
export class ContentStore {
  readonly #root: string;
  readonly #tmp: string;
  readonly #fsync: FsyncPolicy;
  readonly #arrivals = new Arrivals();
  readonly #turns = new Turns();
  readonly #shards = new Set<string>();
  readonly #count: UsageCount;
  #sequence = 0;
  #closed = false;

  private constructor(root: string, options: ContentStoreOptions) {
    this.#root = join(root, 'contents', 'sha256');
    this.#tmp = join(root, 'contents', 'tmp');
    this.#fsync = options.fsync;
    this.#count = new UsageCount(this.#root, () => this.#closed);
  }

  /** Opens the store below `root`, making it when missing; what an earlier process left half-written goes. */
  static async open(root: string, options: ContentStoreOptions): Promise<ContentStore> {
    const store = new ContentStore(root, options);
    await mkdir(store.#root, { recursive: true, mode: 0o700 });
    await rm(store.#tmp, { recursive: true, force: true });
    await mkdir(store.#tmp, { recursive: true, mode: 0o700 });
    return store;
  }

  /** `<2 hex>/<62 hex>` below it are the contents; file system drivers open them by themselves. */
  get directory(): string {
    return this.#root;
  }

  /** Where the content of `digest` is, or will be once it has arrived. */
  pathOf(digest: Digest): string {
    const hex = digestHex(digest);
    return join(this.#root, hex.slice(0, 2), hex.slice(2));
  }

  /** True when the content is here, complete and verified. */
  has(digest: Digest): boolean {
    return existsSync(this.pathOf(digest));
  }

  /** Bytes of the content, or undefined when it is not here. */
  sizeOf(digest: Digest): number | undefined {
    return statSync(this.pathOf(digest), { throwIfNoEntry: false })?.size;
  }

  /** True when a process waits for this content now. */
  isWaitedFor(digest: Digest): boolean {
    return this.#arrivals.isWaitedFor(digest);
  }

  /** Calls back with every content that becomes visible; @returns a function that ends it. */
  onArrival(listener: (digest: Digest) => void): () => void {
    return this.#arrivals.listen(listener);
  }

  /**
   * The path of the content once it is here.
   * @throws the signal's reason when that aborts first; {@link StoreError} `closed` when the store closes.
   */
  async wait(digest: Digest, signal: AbortSignal): Promise<string> {
    if (this.#closed) throw new StoreError({ kind: 'closed' });
    if (!this.has(digest)) await this.#arrivals.wait(digest, signal);
    return this.pathOf(digest);
  }

  /**
   * Takes a content in. Does nothing when it is here already (the source is then not read).
   * @throws {StoreError} `digest-mismatch`, `size-mismatch` (nothing becomes visible), `no-space`, `closed`.
   */
  async write(
    digest: Digest,
    sizeBytes: number,
    source: Uint8Array | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    if (this.#closed) throw new StoreError({ kind: 'closed' });
    if (this.#turns.isOver && source instanceof Uint8Array) {
      await this.#turns.next();
      signal.throwIfAborted();
      if (this.#closed) throw new StoreError({ kind: 'closed' });
    }
    if (this.has(digest)) return;
    const tmp = join(this.#tmp, `${this.#sequence++}`);
    try {
      if (source instanceof Uint8Array) {
        verify(digest, sizeBytes, digestOf(source), source.byteLength);
        if (this.#fsync === 'content') await this.#writeStream(tmp, [source], signal);
        else if (source.byteLength <= ON_THE_SPOT_LIMIT_BYTES) writeNow(tmp, source);
        else await writeFile(tmp, source, { flag: 'wx', mode: 0o444, signal });
      } else {
        const written = await this.#writeStream(tmp, within(digest, sizeBytes, source), signal);
        verify(digest, sizeBytes, written.digest, written.sizeBytes);
      }
      const target = this.pathOf(digest);
      if (this.has(digest)) {
        await unlink(tmp); // another writer was quicker
        return;
      }
      this.#makeShard(digest);
      renameSync(tmp, target);
      this.#count.added(digest, sizeBytes);
      if (this.#fsync === 'content') await syncDirectory(join(target, '..'));
    } catch (error) {
      await unlink(tmp).catch(() => undefined); // never made, or gone with the next start: the first error counts
      throw asStoreError(error, this.#root);
    }
    this.#arrivals.announce(digest);
  }

  /** Removes a content; files that are open stay readable. @returns the bytes freed on the disk, 0 when it was not here. */
  delete(digest: Digest): number {
    const path = this.pathOf(digest);
    const sizeBytes = statSync(path, { throwIfNoEntry: false })?.size;
    if (sizeBytes === undefined) return 0;
    unlinkSync(path);
    this.#count.removed(digest, sizeBytes);
    return diskBytesOf(sizeBytes);
  }

  /** Every content here, in no order, shard by shard. Files of other names are none of ours and left alone. */
  async *list(signal: AbortSignal): AsyncGenerator<Digest> {
    for (const shard of await readdir(this.#root)) {
      if (!/^[0-9a-f]{2}$/.test(shard)) continue;
      for (const rest of await readdir(join(this.#root, shard))) {
        signal.throwIfAborted();
        if (/^[0-9a-f]{62}$/.test(rest)) yield `sha256:${shard}${rest}` as Digest; // just matched
      }
    }
  }

  /** How many contents there are and what they take up on the disk: counted once, kept from then on. */
  async usage(signal: AbortSignal): Promise<StoreUsage> {
    signal.throwIfAborted();
    await Promise.race([this.#count.ready(), whenAborted(signal)]);
    return this.#count.now;
  }

  /** True when the file's bytes still are those of its digest (they need not be after a power loss). */
  async rehash(digest: Digest, signal: AbortSignal): Promise<boolean> {
    const hash = createHash('sha256');
    const handle = await open(this.pathOf(digest), 'r');
    await using stream = handle.createReadStream({ signal });
    for await (const chunk of stream) hash.update(chunk as Buffer); // no encoding is set, so chunks are buffers
    return `sha256:${hash.digest('hex')}` === digest;
  }

  /** Rejects whoever still waits; writes are refused from now on. */
  close(): void {
    this.#closed = true;
    this.#arrivals.close(new StoreError({ kind: 'closed' }));
  }

  #makeShard(digest: Digest): void {
    const shard = digestHex(digest).slice(0, 2);
    if (this.#shards.has(shard)) return; // at most 256 of them
    mkdirSync(join(this.#root, shard), { recursive: true, mode: 0o700 });
    this.#shards.add(shard);
  }

  async #writeStream(
    path: string,
    source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<{ digest: Digest; sizeBytes: number }> {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    await using handle = await open(path, 'wx', 0o444);
    for await (const chunk of source) {
      signal.throwIfAborted();
      hash.update(chunk);
      sizeBytes += chunk.byteLength;
      for (let at = 0; at < chunk.byteLength; ) at += (await handle.write(chunk, at)).bytesWritten;
    }
    if (this.#fsync === 'content') await handle.sync();
    return { digest: `sha256:${hash.digest('hex')}` as Digest, sizeBytes };
  }
}

function writeNow(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'wx', 0o444);
  try {
    for (let at = 0; at < bytes.byteLength; ) at += writeSync(file, bytes, at);
  } finally {
    closeSync(file);
  }
}

/** Stops as soon as there are more bytes than announced: a liar must not fill the disk first. */
async function* within(
  digest: Digest,
  sizeBytes: number,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let actualBytes = 0;
  for await (const chunk of source) {
    actualBytes += chunk.byteLength;
    if (actualBytes > sizeBytes)
      throw new StoreError({ kind: 'size-mismatch', digest, sizeBytes, actualBytes });
    yield chunk;
  }
}

function verify(digest: Digest, sizeBytes: number, actual: Digest, actualBytes: number): void {
  if (actualBytes !== sizeBytes)
    throw new StoreError({ kind: 'size-mismatch', digest, sizeBytes, actualBytes });
  if (actual !== digest) throw new StoreError({ kind: 'digest-mismatch', digest, actual });
}
