import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ANNOTATION } from '../oci/annotations.ts';
import type { Digest } from '../oci/digest.ts';
import { type Descriptor, parseIndex } from '../oci/types.ts';
import type { BlobStream, ImageSource, ManifestDocument } from './image-endpoint.ts';
import { ImageError } from './image-error.ts';
import { blobPath, layoutName, readIfThere } from './layout-files.ts';
import { fallbackTag } from './referrers-index.ts';
import { IMAGE_LIMIT } from './limits.ts';
import { verified, readAll } from './verify-stream.ts';

/** An image in an OCI image layout directory, read. */
export class LayoutSource implements ImageSource {
  readonly name: string;
  readonly #directory: string;
  readonly #tag: string | undefined;

  /** @param tag may be left out when the layout holds one image. */
  constructor(directory: string, tag: string | undefined) {
    this.name = layoutName(directory, tag);
    this.#directory = directory;
    this.#tag = tag;
  }

  async manifest(signal: AbortSignal, below?: Descriptor): Promise<ManifestDocument> {
    const descriptor = below ?? (await this.#named());
    if (descriptor.size > IMAGE_LIMIT.manifestBytes) {
      throw new ImageError({ kind: 'malformed', what: 'manifest' }, `${this.name}: a manifest is too large`);
    }
    const bytes = await readAll(await this.blob(descriptor, signal), IMAGE_LIMIT.manifestBytes, 'a manifest');
    return { mediaType: descriptor.mediaType, digest: descriptor.digest, bytes };
  }

  async blob(descriptor: Descriptor, signal: AbortSignal): Promise<BlobStream> {
    const path = blobPath(this.#directory, descriptor.digest);
    try {
      await stat(path);
    } catch (cause) {
      const what = `${this.name}: ${descriptor.digest}`;
      throw new ImageError({ kind: 'not-found', what }, `${this.name} has no blob ${descriptor.digest}`, {
        cause,
      });
    }
    return verified(contents(path, signal), descriptor);
  }

  async referrers(subject: Digest, signal: AbortSignal): Promise<readonly Descriptor[]> {
    const bytes = await readIfThere(join(this.#directory, 'index.json'));
    if (bytes === undefined) return [];
    const tag = fallbackTag(subject);
    const list = parseIndex(bytes).manifests.find((one) => one.annotations?.[ANNOTATION.refName] === tag);
    return list === undefined ? [] : parseIndex((await this.manifest(signal, list)).bytes).manifests;
  }

  async #named(): Promise<Descriptor> {
    const bytes = await readIfThere(join(this.#directory, 'index.json'));
    if (bytes === undefined) {
      throw new ImageError({ kind: 'not-found', what: this.name }, `${this.name}: no image layout there`);
    }
    const { manifests } = parseIndex(bytes);
    const found = manifests.filter((one) =>
      this.#tag === undefined ? !isReferrers(one) : one.annotations?.[ANNOTATION.refName] === this.#tag,
    );
    const [only] = found;
    if (only === undefined) {
      throw new ImageError(
        { kind: 'not-found', what: this.name },
        `${this.name}: no such image in the layout`,
      );
    }
    if (found.length > 1) {
      const reason = 'the layout holds several images: name one, as oci:DIRECTORY:TAG';
      throw new ImageError({ kind: 'invalid-name', name: this.name }, `${this.name}: ${reason}`);
    }
    return only;
  }
}

/** Opened only by who reads it: a stream that is aborted while nobody listens ends the process. */
async function* contents(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  yield* createReadStream(path, { signal, highWaterMark: 256 * 1024 });
}

/** A list of referrers under its fallback tag is no image that somebody means without naming it. */
function isReferrers(entry: Descriptor): boolean {
  return /^sha(?:256|512)-[0-9a-f]{64,128}$/.test(entry.annotations?.[ANNOTATION.refName] ?? '');
}
