import { randomUUID } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { KeyLock } from '../../schemas/concurrency/key-lock.ts';
import { syncDirectory } from '../../schemas/disk/durable-file.ts';
import {
  DIGEST_HEX_LENGTH,
  type Digest,
  Digester,
  digestAlgorithm,
  digestHex,
  isDigest,
} from '../../schemas/oci/digest.ts';
import { isMissing } from '../../schemas/process/system-error.ts';
import { FileBody } from '../registry/file-body.ts';
import type { MirrorCounters } from './counters.ts';
import type { Space } from './space.ts';

const READ_BYTES = 256 << 10;
/** What a file takes at least; bounds how many small ones there can be. */
const DISK_BLOCK_BYTES = 4096;
/** The time of use that orders files after a restart is written at most this often per file. */
const TOUCH_MS = 60_000;
/** After an error of the disk, nothing is written for so long. */
const PAUSE_MS = 10_000;
/** Part of what is kept that goes when the disk is full below the configured limit: others write there too. */
const FULL_SHARE = 0.1;

export interface StoreLog {
  warn(fields: object, message: string): void;
}

export interface BlobStoreOptions {
  /** Of this store alone; made when missing. */
  readonly dir: string;
  readonly space: Space;
  readonly counters: MirrorCounters;
  readonly log: StoreLog;
  readonly nowMs: () => number;
}

/** A kept content's open file: verified, whole, and not evicted before it is let go of. */
export interface StoredBlob {
  readonly sizeBytes: number;
  /** Takes the file over and lets go of it in the end. `end` is exclusive. */
  stream(start: number, end: number): Readable;
  close(): Promise<void>;
}

interface Entry {
  readonly sizeBytes: number;
  users: number;
  touchedMs: number;
  /** The file as it was when its bytes were proven to be of the digest; undefined: not by this process. */
  proven: FileIdentity | undefined;
  proving: Promise<boolean> | undefined;
}

interface FileIdentity {
  readonly inode: bigint;
  readonly sizeBytes: bigint;
  readonly modifiedNs: bigint;
}

/**
 * Contents by digest, one file each, of one upstream. A file is there whole or not at all: it is written under
 * `partial/`, which is emptied at start, and renamed when its bytes are proven and synced. Its bytes are proven
 * again before the first use after a start, and whenever inode, size or time of change differ from what they
 * were: a damaged file is removed and is a miss.
 *
 *     <dir>/<algorithm>/<first two digits>/<hex>
 *     <dir>/partial/<random>
 */
export class BlobStore {
  readonly #options: BlobStoreOptions;
  readonly #entries = new Map<Digest, Entry>();
  readonly #lock = new KeyLock();
  #pausedUntilMs = Number.NEGATIVE_INFINITY;

  private constructor(options: BlobStoreOptions) {
    this.#options = options;
  }

  /** Reads what is there. @throws where the directory cannot be used. */
  static async open(options: BlobStoreOptions): Promise<BlobStore> {
    const store = new BlobStore(options);
    await rm(join(options.dir, 'partial'), { recursive: true, force: true });
    await mkdir(join(options.dir, 'partial'), { recursive: true });
    await store.#scan();
    return store;
  }

  get dir(): string {
    return this.#options.dir;
  }

  /** Where something may grow, on the same file system. */
  temporaryFile(): string {
    return join(this.#options.dir, 'partial', randomUUID());
  }

  /** False for a while after the disk was in trouble. */
  get writable(): boolean {
    return this.#options.nowMs() >= this.#pausedUntilMs;
  }

  /** Told of an error of the disk: nothing is written for a while, and a full disk is relieved. */
  diskFailed(error: unknown): void {
    const { counters, log, nowMs, space } = this.#options;
    counters.diskErrors += 1;
    if (this.writable) log.warn({ err: error }, 'the mirror cache cannot use its disk: passing through');
    this.#pausedUntilMs = nowMs() + PAUSE_MS;
    space.evict(Math.ceil(space.usedBytes * FULL_SHARE));
  }

  has(digest: Digest): boolean {
    return this.#entries.has(digest);
  }

  /** undefined where it is not kept, or was damaged. Close it, or end or destroy its stream. */
  async take(digest: Digest): Promise<StoredBlob | undefined> {
    const entry = this.#entries.get(digest);
    if (entry === undefined) return undefined;
    this.#pin(digest, entry);
    let handle: FileHandle | undefined;
    try {
      handle = await open(this.#file(digest), constants.O_RDONLY | constants.O_NOFOLLOW);
      if (await this.#isProven(digest, entry, handle)) return this.#opened(digest, entry, handle);
      this.#options.counters.corrupt += 1;
      this.#options.log.warn({ digest }, 'a file of the mirror cache was damaged and is removed');
    } catch (error) {
      if (!isMissing(error)) this.diskFailed(error);
    }
    await handle?.close();
    this.#forget(digest, entry);
    return undefined;
  }

  /** The whole of something small. */
  async read(digest: Digest): Promise<Uint8Array | undefined> {
    const blob = await this.take(digest);
    if (blob === undefined) return undefined;
    const chunks: Uint8Array[] = await Array.fromAsync(blob.stream(0, blob.sizeBytes));
    return Buffer.concat(chunks);
  }

  /**
   * Makes the file at `temporary`, written and proven to be of `digest`, the kept one. The bytes that the caller
   * has reserved for it become this store's to count.
   *
   * @returns lets go of it: until then it is in use
   * @throws what the disk throws; file and reservation are then still the caller's
   */
  async adopt(
    digest: Digest,
    temporary: string,
    handle: FileHandle,
    reservedBytes: number,
  ): Promise<() => void> {
    const { space, nowMs } = this.#options;
    // Whole seconds, so that the time of change is not rounded when the time of use is set later.
    const seconds = Math.floor(nowMs() / 1000);
    await handle.utimes(seconds, seconds);
    await handle.sync();
    const identity = identityOf(await handle.stat({ bigint: true }));
    return await this.#lock.run([digest], async () => {
      await mkdir(this.#dirOf(digest), { recursive: true });
      await rename(temporary, this.#file(digest));
      await syncDirectory(this.#dirOf(digest));
      const old = this.#entries.get(digest);
      if (old !== undefined) this.#uncount(digest, old);
      space.release(reservedBytes);
      const entry = this.#insert(digest, Number(identity.sizeBytes), identity, nowMs());
      this.#pin(digest, entry);
      space.trim();
      return () => this.#unpin(digest, entry);
    });
  }

  /** Keeps something small, of which the caller has proven the digest; troubles of the disk only cost the entry. */
  async put(digest: Digest, bytes: Uint8Array): Promise<void> {
    const { space } = this.#options;
    const reservedBytes = onDisk(bytes.byteLength);
    if (!this.writable || this.has(digest) || !space.reserve(reservedBytes)) return;
    const temporary = this.temporaryFile();
    try {
      await writeFile(temporary, bytes, { flag: 'wx' });
      const handle = await open(temporary, 'r+');
      try {
        const letGo = await this.adopt(digest, temporary, handle, reservedBytes);
        letGo();
      } finally {
        await handle.close();
      }
    } catch (error) {
      space.release(reservedBytes);
      this.diskFailed(error);
      await rm(temporary, { force: true }).catch(() => undefined); // the first error counts
    }
  }

  /** Resolves when nothing is being moved or removed. */
  async settled(): Promise<void> {
    await this.#lock.settled();
  }

  #opened(digest: Digest, entry: Entry, handle: FileHandle): StoredBlob {
    const { sizeBytes } = entry;
    const close = async () => {
      try {
        await handle.close();
      } finally {
        this.#unpin(digest, entry);
      }
    };
    return {
      sizeBytes,
      close,
      stream: (start, end) => {
        const body = new FileBody(handle, start, end - start);
        body.once('close', () => this.#unpin(digest, entry));
        return body;
      },
    };
  }

  async #isProven(digest: Digest, entry: Entry, handle: FileHandle): Promise<boolean> {
    const identity = identityOf(await handle.stat({ bigint: true }));
    if (isSame(entry.proven, identity)) return true;
    entry.proving ??= hasDigest(handle, digest).finally(() => {
      entry.proving = undefined;
    });
    if (!(await entry.proving)) return false;
    entry.proven = identity;
    return true;
  }

  async #scan(): Promise<void> {
    const { dir, space } = this.#options;
    const found: { digest: Digest; sizeBytes: number; usedMs: number }[] = [];
    for (const algorithm of Object.keys(DIGEST_HEX_LENGTH)) {
      for (const shard of await entriesOf(join(dir, algorithm))) {
        for (const { name } of await entriesOf(join(dir, algorithm, shard.name))) {
          const digest = `${algorithm}:${name}`;
          if (!isDigest(digest) || this.#file(digest) !== join(dir, algorithm, shard.name, name)) continue;
          const { size, atimeMs } = await stat(this.#file(digest));
          found.push({ digest, sizeBytes: size, usedMs: atimeMs });
        }
      }
    }
    found.sort((a, b) => a.usedMs - b.usedMs);
    for (const { digest, sizeBytes, usedMs } of found) {
      this.#insert(digest, sizeBytes, undefined, usedMs);
    }
    space.trim();
  }

  #insert(digest: Digest, sizeBytes: number, proven: FileIdentity | undefined, touchedMs: number): Entry {
    this.#options.space.count(onDisk(sizeBytes));
    const entry: Entry = { sizeBytes, users: 0, touchedMs, proven, proving: undefined };
    this.#entries.set(digest, entry);
    this.#offer(digest, entry);
    return entry;
  }

  #offer(digest: Digest, entry: Entry): void {
    this.#options.space.offer(this.#file(digest), {
      sizeBytes: onDisk(entry.sizeBytes),
      evict: () => {
        this.#options.space.release(onDisk(entry.sizeBytes));
        this.#entries.delete(digest);
        this.#remove(digest);
      },
    });
  }

  #pin(digest: Digest, entry: Entry): void {
    entry.users += 1;
    this.#options.space.claim(this.#file(digest));
  }

  #unpin(digest: Digest, entry: Entry): void {
    entry.users -= 1;
    if (entry.users > 0 || this.#entries.get(digest) !== entry) return;
    const nowMs = this.#options.nowMs();
    if (nowMs - entry.touchedMs >= TOUCH_MS) {
      entry.touchedMs = nowMs;
      void this.#touch(digest, nowMs);
    }
    this.#offer(digest, entry);
    this.#options.space.trim();
  }

  async #touch(digest: Digest, nowMs: number): Promise<void> {
    try {
      const { mtimeMs } = await stat(this.#file(digest));
      await utimes(this.#file(digest), nowMs / 1000, mtimeMs / 1000);
    } catch (error) {
      if (!isMissing(error)) this.diskFailed(error);
    }
  }

  #forget(digest: Digest, entry: Entry): void {
    entry.users -= 1;
    if (this.#entries.get(digest) !== entry) return;
    this.#uncount(digest, entry);
    this.#entries.delete(digest);
    this.#remove(digest);
  }

  #uncount(digest: Digest, entry: Entry): void {
    this.#options.space.claim(this.#file(digest));
    this.#options.space.release(onDisk(entry.sizeBytes));
  }

  #remove(digest: Digest): void {
    const removed = this.#lock.run([digest], async () => {
      // It may have come anew since.
      if (!this.#entries.has(digest)) await rm(this.#file(digest), { force: true });
    });
    removed.catch((error: unknown) => this.diskFailed(error));
  }

  #dirOf(digest: Digest): string {
    return join(this.#options.dir, digestAlgorithm(digest), digestHex(digest).slice(0, 2));
  }

  #file(digest: Digest): string {
    return join(this.#dirOf(digest), digestHex(digest));
  }
}

function onDisk(bytes: number): number {
  return Math.ceil(bytes / DISK_BLOCK_BYTES) * DISK_BLOCK_BYTES;
}

function identityOf(stats: { ino: bigint; size: bigint; mtimeNs: bigint }): FileIdentity {
  return { inode: stats.ino, sizeBytes: stats.size, modifiedNs: stats.mtimeNs };
}

function isSame(a: FileIdentity | undefined, b: FileIdentity): boolean {
  return a?.inode === b.inode && a.sizeBytes === b.sizeBytes && a.modifiedNs === b.modifiedNs;
}

async function hasDigest(handle: FileHandle, digest: Digest): Promise<boolean> {
  const digester = new Digester(digestAlgorithm(digest));
  const buffer = Buffer.allocUnsafe(READ_BYTES);
  for (let at = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, READ_BYTES, at);
    if (bytesRead === 0) return digester.digest() === digest;
    digester.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

async function entriesOf(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
