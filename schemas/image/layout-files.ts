import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMissing } from '../process/system-error.ts';
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts';

/** Files of an OCI image layout (image-spec, image-layout.md). */

export function blobPath(directory: string, digest: Digest): string {
  return join(directory, 'blobs', digestAlgorithm(digest), digestHex(digest));
}

/** What a user calls an image of a layout. */
export function layoutName(directory: string, tag: string | undefined): string {
  return `oci:${directory}${tag === undefined ? '' : `:${tag}`}`;
}

/** The bytes of a file; nothing when there is none. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
