import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobRange, RegistryReader } from '../extensions/starlight/registry-reader.ts';
import { type Digest, digestHex, parseDigest } from '../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../schemas/oci/media-types.ts';

/** An OCI image layout with one kind of image, as a registry that answers at once; counts what ranges are asked for. */
export class LayoutReader implements RegistryReader {
  readonly #blobs: string;
  rangeReads = 0;
  rangeBytes = 0;

  constructor(layout: string) {
    this.#blobs = join(layout, 'blobs/sha256');
  }

  /** By digest alone. */
  async manifest(_name: string, reference: string) {
    const digest = parseDigest(reference);
    const bytes = await readFile(join(this.#blobs, digestHex(digest)));
    return { digest, mediaType: MEDIA_TYPE.ociManifest, bytes };
  }

  async blob(
    _name: string,
    digest: Digest,
    range: BlobRange | undefined,
    _auth: unknown,
    signal: AbortSignal,
  ) {
    const path = join(this.#blobs, digestHex(digest));
    if (range === undefined)
      return { sizeBytes: (await stat(path)).size, bytes: createReadStream(path, { signal }) };
    const { offset, length } = range;
    this.rangeReads += 1;
    this.rangeBytes += length;
    const bytes = createReadStream(path, { start: offset, end: offset + length - 1, signal });
    // Whoever iterates is told; an abort after that is no error.
    bytes.on('error', () => undefined);
    return { sizeBytes: length, bytes };
  }

  async referrers() {
    return [];
  }
}
