import { constants, type Dirent } from 'node:fs';
import { type FileHandle, link, mkdir, open, opendir, rename, rm, stat, unlink } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { syncDirectory } from '../../../schemas/disk/durable-file.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import { type RepositoryName, repositoryName } from '../repository-name.ts';
import { errorCode, isMissing } from '../../../schemas/process/system-error.ts';
import { FileBody } from '../file-body.ts';
import type { LayoutIndexes } from './layout-index.ts';
import { RepositoryFiles } from './repository-files.ts';

/** A cross-mount that names no source, and a sweep, look into at most this many directories. */
const MAX_DIRECTORIES_SEARCHED = 10_000;

/** A blob's open file: it stays readable though the blob be deleted meanwhile. */
export interface OpenBlob {
  readonly sizeBytes: number;
  /** Takes the handle over and closes it in the end. `start` and `end` are inclusive. */
  stream(range: { readonly start: number; readonly end: number } | undefined): Readable;
  close(): Promise<void>;
}

/** The blobs of the embedded registry: files named by their digest, never changed once they are there. */
export class Blobs {
  readonly #root: string;
  readonly #indexes: LayoutIndexes;

  constructor(root: string, indexes: LayoutIndexes) {
    this.#root = root;
    this.#indexes = indexes;
  }

  /** undefined where the repository does not hold it. */
  async sizeBytes(files: RepositoryFiles, digest: Digest): Promise<number | undefined> {
    try {
      return (await stat(files.blobFile(digest))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** undefined where the repository does not hold it. */
  async open(files: RepositoryFiles, digest: Digest): Promise<OpenBlob | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(files.blobFile(digest), constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
    try {
      return openBlob(handle, (await handle.stat()).size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Moves a written and synced file to its place; its bytes are verified by the caller to be of `digest`. */
  async adopt(files: RepositoryFiles, digest: Digest, file: string): Promise<void> {
    await this.#indexes.ensure(files);
    await mkdir(files.blobDir(digest), { recursive: true });
    await rename(file, files.blobFile(digest));
    await syncDirectory(files.blobDir(digest));
  }

  /** @returns false where there was none. */
  async remove(files: RepositoryFiles, digest: Digest): Promise<boolean> {
    try {
      await unlink(files.blobFile(digest));
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  /**
   * Makes a blob of `from`, or of any repository where `from` is undefined, one of this repository's too, by a
   * hard link. Repositories that the caller may not pull from count as empty.
   *
   * @returns false where nobody has it.
   */
  async mount(
    files: RepositoryFiles,
    digest: Digest,
    from: RepositoryName | undefined,
    mayPull: (name: RepositoryName) => boolean,
  ): Promise<boolean> {
    if (mayPull(files.name) && (await this.sizeBytes(files, digest)) !== undefined) return true;
    if (from !== undefined) {
      return mayPull(from) && (await this.#link(files, digest, new RepositoryFiles(this.#root, from)));
    }
    for await (const name of this.repositories()) {
      if (mayPull(name) && (await this.#link(files, digest, new RepositoryFiles(this.#root, name))))
        return true;
    }
    return false;
  }

  async #link(files: RepositoryFiles, digest: Digest, source: RepositoryFiles): Promise<boolean> {
    if ((await this.sizeBytes(source, digest)) === undefined) return false;
    await this.#indexes.ensure(files);
    await mkdir(files.blobDir(digest), { recursive: true });
    try {
      await link(source.blobFile(digest), files.blobFile(digest));
    } catch (error) {
      if (isMissing(error)) return false; // deleted a moment ago
      if (errorCode(error) !== 'EEXIST') throw error;
    }
    await syncDirectory(files.blobDir(digest));
    return true;
  }

  /** The names of all directories that may be repositories, of 10,000 at most. */
  async *repositories(): AsyncGenerator<RepositoryName> {
    const pending = [''];
    for (let visited = 0; visited < MAX_DIRECTORIES_SEARCHED; visited += 1) {
      const parent = pending.shift();
      if (parent === undefined) return;
      for (const entry of await entriesOf(`${this.#root}/${parent}`)) {
        const name = repositoryName(parent === '' ? entry.name : `${parent}/${entry.name}`);
        if (name === undefined || !entry.isDirectory()) continue;
        pending.push(name);
        yield name;
      }
    }
  }
}

async function entriesOf(path: string): Promise<Dirent[]> {
  const entries: Dirent[] = [];
  try {
    for await (const entry of await opendir(path)) {
      if (entries.push(entry) >= MAX_DIRECTORIES_SEARCHED) break;
    }
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return entries;
}

function openBlob(handle: FileHandle, sizeBytes: number): OpenBlob {
  return {
    sizeBytes,
    close: () => handle.close(),
    stream: (range) =>
      new FileBody(handle, range?.start ?? 0, range === undefined ? sizeBytes : range.end - range.start + 1),
  };
}

/** Removes a file that may already be gone. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}
