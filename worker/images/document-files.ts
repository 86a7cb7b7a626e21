import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../../schemas/disk/durable-file.ts';
import { type Digest, digestHex, digestOf } from '../../schemas/oci/digest.ts';
import { asStoreError } from '../store/store-error.ts';

/**
 * The documents of the images here (manifests, configs, indexes, tables of contents) as files
 * `documents/<sha256 hex>` under the root. Verified when written and again when read.
 */
export class DocumentFiles {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(root: string): Promise<DocumentFiles> {
    const files = new DocumentFiles(join(root, 'documents'));
    await rm(join(files.#directory, 'tmp'), { recursive: true, force: true });
    await mkdir(join(files.#directory, 'tmp'), { recursive: true, mode: 0o700 });
    return files;
  }

  /** Forced to the disk before it returns: the catalogue that names it is. */
  async put(digest: Digest, bytes: Uint8Array): Promise<void> {
    if (digestOf(bytes) !== digest) throw new Error(`document ${digest} is not what its digest says`);
    const temporaryDir = join(this.#directory, 'tmp'); // the next start clears it
    try {
      await writeDurably(this.pathOf(digest), [bytes], { temporaryDir, mode: 0o600 });
    } catch (error) {
      throw asStoreError(error, this.#directory);
    }
  }

  /** @throws {Error} when it is not here, or not what it was any more. */
  async get(digest: Digest): Promise<Uint8Array> {
    const bytes = await readFile(this.pathOf(digest));
    if (digestOf(bytes) !== digest) throw new Error(`document ${digest} on the disk is damaged`);
    return bytes;
  }

  /** Removes what is not in `kept`; @returns how many went. */
  async sweep(isKept: (digest: Digest) => boolean): Promise<number> {
    let removed = 0;
    for (const name of await readdir(this.#directory)) {
      if (!/^[0-9a-f]{64}$/.test(name) || isKept(`sha256:${name}` as Digest)) continue; // just matched
      await rm(join(this.#directory, name), { force: true });
      removed += 1;
    }
    return removed;
  }

  /** Where a document is, for other threads; they verify what they read. */
  pathOf(digest: Digest): string {
    return join(this.#directory, digestHex(digest));
  }
}
