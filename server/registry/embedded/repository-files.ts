import { createHash } from 'node:crypto';
import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Digest, digestAlgorithm, digestHex } from '../../../schemas/oci/digest.ts';
import type { RepositoryName } from '../repository-name.ts';
import { isMissing } from '../../../schemas/process/system-error.ts';

/**
 * Where things of one repository lie:
 *
 *     <root>/<name>/_layout/oci-layout         a standard OCI image layout (image-spec, image-layout.md)
 *     <root>/<name>/_layout/index.json         one entry per tag, one without a name per untagged manifest
 *     <root>/<name>/_layout/blobs/<alg>/<hex>
 *     <root>/<name>/_uploads/<session>         what has arrived of an upload
 *     <root>/<name>/_uploads/<session>.<user>  the same of one user's, by a hash of the name
 *     <root>/<name>/_uploads/<…>.tmp           a file before its rename
 *
 * No component of a name begins with "_", so a repository `a/b` lies beside these of `a` and never among them.
 */
export class RepositoryFiles {
  readonly name: RepositoryName;
  readonly layoutDir: string;
  readonly uploadsDir: string;
  readonly #uploadSuffix: string;

  /** @param owner whose uploads are meant: nobody else's are found. Empty for those of callers without a name. */
  constructor(root: string, name: RepositoryName, owner = '') {
    const dir = resolve(root, name);
    this.name = name;
    this.layoutDir = `${dir}/_layout`;
    this.uploadsDir = `${dir}/_uploads`;
    this.#uploadSuffix =
      owner === '' ? '' : `.${createHash('sha256').update(owner).digest('hex').slice(0, 32)}`;
  }

  get indexFile(): string {
    return `${this.layoutDir}/index.json`;
  }

  get markerFile(): string {
    return `${this.layoutDir}/oci-layout`;
  }

  blobDir(digest: Digest): string {
    return `${this.layoutDir}/blobs/${digestAlgorithm(digest)}`;
  }

  blobFile(digest: Digest): string {
    return `${this.blobDir(digest)}/${digestHex(digest)}`;
  }

  /** `session` is checked by its grammar before it comes here. */
  uploadFile(session: string): string {
    return `${this.uploadsDir}/${session}${this.#uploadSuffix}`;
  }

  /** A repository exists from its first blob or manifest on. */
  async exists(): Promise<boolean> {
    try {
      await access(this.markerFile);
      return true;
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }
}
