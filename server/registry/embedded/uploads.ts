import { randomUUID } from 'node:crypto';
import { mkdir, open, stat } from 'node:fs/promises';
import { type Digest, type DigestAlgorithm, Digester, digestAlgorithm } from '../../../schemas/oci/digest.ts';
import { RegistryError } from '../registry-error.ts';
import { type Blobs, removeFile } from './blobs.ts';
import { isMissing } from '../../../schemas/process/system-error.ts';
import type { RepositoryFiles } from './repository-files.ts';
import { UploadLedger, type UploadLimits } from './upload-ledger.ts';

/** Running digests kept in memory; an upload beyond that, or from before a restart, is read again at its end. */
const MAX_RUNNING_DIGESTS = 1024;
const SESSION = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** What a chunk said of itself. */
export interface ChunkClaim {
  /** Where it begins, if it said so; then it must be where the upload stands. */
  readonly start?: number;
  /** How long it is, if it said so; a body of another length is refused, and not kept. */
  readonly sizeBytes?: number;
}

/**
 * Uploads on their way. What has arrived lies in a file, so that an upload goes on after a restart; its length
 * is the offset. One request at a time writes to an upload.
 */
export class Uploads {
  readonly #blobs: Blobs;
  readonly #ledger: UploadLedger;
  readonly #busy = new Set<string>();
  readonly #digesters = new Map<string, Digester>();

  constructor(blobs: Blobs, limits: UploadLimits, now: () => number) {
    this.#blobs = blobs;
    this.#ledger = new UploadLedger({ ...limits, now, isBusy: (file) => this.#busy.has(file) });
  }

  /**
   * @returns the session of a new upload. `algorithm` is what its digest will be of, if that is known.
   * @throws {RegistryError} 'too-many-uploads'
   */
  async start(files: RepositoryFiles, algorithm: DigestAlgorithm = 'sha256'): Promise<string> {
    await mkdir(files.uploadsDir, { recursive: true });
    const session = randomUUID();
    const file = files.uploadFile(session);
    await this.#ledger.begin(file);
    try {
      await (await open(file, 'wx', 0o644)).close();
    } catch (error) {
      this.#ledger.end(file);
      throw error;
    }
    this.#remember(session, new Digester(algorithm));
    return session;
  }

  /** Removes a repository's abandoned uploads. @returns how many there were. */
  sweep(files: RepositoryFiles): Promise<number> {
    return this.#ledger.sweep(files.uploadsDir);
  }

  /** How many bytes have arrived. @throws {RegistryError} 'upload-unknown' */
  async offset(files: RepositoryFiles, session: string): Promise<number> {
    if (!SESSION.test(session))
      throw new RegistryError({ kind: 'upload-unknown', session: session.slice(0, 80) });
    try {
      return (await stat(files.uploadFile(session))).size;
    } catch (error) {
      if (isMissing(error)) throw new RegistryError({ kind: 'upload-unknown', session });
      throw error;
    }
  }

  /**
   * Adds a chunk. Where the body breaks off, what has come is kept, so that the client can go on from there.
   *
   * @returns the new offset.
   * @throws {RegistryError} 'upload-unknown', 'upload-busy', 'upload-out-of-order', 'size-invalid'
   */
  append(
    files: RepositoryFiles,
    session: string,
    body: AsyncIterable<Uint8Array>,
    claim: ChunkClaim,
    signal: AbortSignal,
  ): Promise<number> {
    return this.#exclusively(files, session, () => this.#append(files, session, body, claim, signal));
  }

  /**
   * Adds a last chunk, verifies the whole against `digest` and makes it a blob. An upload that turns out to be
   * of another digest is removed: no chunk could make it good.
   *
   * @throws {RegistryError} as `append`, and 'digest-invalid'
   */
  finish(
    files: RepositoryFiles,
    session: string,
    digest: Digest,
    body: AsyncIterable<Uint8Array>,
    claim: ChunkClaim,
    signal: AbortSignal,
  ): Promise<void> {
    return this.#exclusively(files, session, async () => {
      const offset = await this.#append(files, session, body, claim, signal);
      const file = files.uploadFile(session);
      const running = this.#digesters.get(session);
      const good = running?.algorithm === digestAlgorithm(digest) && running.sizeBytes === offset;
      const digester = good ? running : await digestFile(file, digestAlgorithm(digest), signal);
      this.#digesters.delete(session); // it can be asked but once
      const actual = digester.digest();
      if (actual !== digest) {
        await removeFile(file);
        this.#ledger.end(file);
        throw new RegistryError({
          kind: 'digest-invalid',
          reason: `what was uploaded is ${actual}, not ${digest}`,
        });
      }
      const handle = await open(file, 'r+');
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
      await this.#blobs.adopt(files, digest, file);
      this.#ledger.end(file);
    });
  }

  /** @throws {RegistryError} 'upload-unknown', 'upload-busy' */
  cancel(files: RepositoryFiles, session: string): Promise<void> {
    return this.#exclusively(files, session, async () => {
      await this.offset(files, session);
      this.#digesters.delete(session);
      await removeFile(files.uploadFile(session));
      this.#ledger.end(files.uploadFile(session));
    });
  }

  async #append(
    files: RepositoryFiles,
    session: string,
    body: AsyncIterable<Uint8Array>,
    claim: ChunkClaim,
    signal: AbortSignal,
  ): Promise<number> {
    const start = await this.offset(files, session);
    if (claim.start !== undefined && claim.start !== start) {
      throw new RegistryError({
        kind: 'upload-out-of-order',
        location: `/v2/${files.name}/blobs/uploads/${session}`,
        offset: start,
      });
    }
    let digester = this.#digesters.get(session);
    if (digester?.sizeBytes !== start) digester = undefined; // from before a restart: read again in the end
    this.#digesters.delete(session);
    const handle = await open(files.uploadFile(session), 'r+');
    let offset = start;
    try {
      for await (const chunk of body) {
        signal.throwIfAborted();
        if (claim.sizeBytes !== undefined && offset - start + chunk.byteLength > claim.sizeBytes) {
          throw new RegistryError({
            kind: 'size-invalid',
            reason: `the chunk is longer than the ${claim.sizeBytes} bytes it announced`,
          });
        }
        await writeFully(handle, chunk, offset);
        digester?.update(chunk);
        offset += chunk.byteLength;
      }
      if (claim.sizeBytes !== undefined && offset - start !== claim.sizeBytes) {
        throw new RegistryError({
          kind: 'size-invalid',
          reason: `the chunk has ${offset - start} bytes and announced ${claim.sizeBytes}`,
        });
      }
    } catch (error) {
      const refused = error instanceof RegistryError;
      await handle.truncate(refused ? start : offset);
      if (refused) digester = undefined;
      throw error;
    } finally {
      await handle.close();
      if (digester !== undefined) this.#remember(session, digester);
    }
    return offset;
  }

  #remember(session: string, digester: Digester): void {
    if (this.#digesters.size >= MAX_RUNNING_DIGESTS) {
      const oldest = this.#digesters.keys().next().value;
      if (oldest !== undefined) this.#digesters.delete(oldest);
    }
    this.#digesters.set(session, digester);
  }

  /** By file and not by session: the same session in another repository, or another user's, is another upload. */
  async #exclusively<T>(files: RepositoryFiles, session: string, task: () => Promise<T>): Promise<T> {
    const key = files.uploadFile(session);
    if (this.#busy.has(key)) {
      throw new RegistryError({ kind: 'upload-busy', session: session.slice(0, 80) });
    }
    this.#busy.add(key);
    try {
      return await task();
    } finally {
      this.#busy.delete(key);
    }
  }
}

async function writeFully(
  handle: { write(b: Uint8Array, o: number, l: number, p: number): Promise<{ bytesWritten: number }> },
  chunk: Uint8Array,
  position: number,
): Promise<void> {
  for (let done = 0; done < chunk.byteLength; ) {
    const { bytesWritten } = await handle.write(chunk, done, chunk.byteLength - done, position + done);
    done += bytesWritten;
  }
}

async function digestFile(file: string, algorithm: DigestAlgorithm, signal: AbortSignal): Promise<Digester> {
  const digester = new Digester(algorithm);
  const handle = await open(file, 'r');
  try {
    const buffer = Buffer.allocUnsafe(1 << 20);
    for (let position = 0; ; ) {
      signal.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, position);
      if (bytesRead === 0) return digester;
      digester.update(buffer.subarray(0, bytesRead));
      position += bytesRead;
    }
  } finally {
    await handle.close();
  }
}
