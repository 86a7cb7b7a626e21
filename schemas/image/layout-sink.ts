import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { writeDurably } from '../disk/durable-file.ts';
import { makeDirectory } from '../disk/make-directory.ts';
import { ANNOTATION } from '../oci/annotations.ts';
import type { Digest } from '../oci/digest.ts';
import { type Descriptor, type Index, parseIndex } from '../oci/types.ts';
import type { ImageSink, ManifestDocument, OpenBlob, PutResult } from './image-endpoint.ts';
import { blobPath, layoutName, readIfThere } from './layout-files.ts';
import { onDisk } from './on-disk.ts';
import { fallbackTag, withReferrer } from './referrers-index.ts';
import { verified } from './verify-stream.ts';

const LAYOUT_FILE = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/**
 * An OCI image layout directory, written to; made when it is not there. Every file is renamed into place,
 * `index.json` last. Two writers of one layout at the same time are not supported.
 */
export class LayoutSink implements ImageSink {
  readonly name: string;
  readonly #directory: string;
  readonly #tag: string | undefined;

  constructor(directory: string, tag: string | undefined) {
    this.name = layoutName(directory, tag);
    this.#directory = directory;
    this.#tag = tag;
  }

  async putBlob(descriptor: Descriptor, open: OpenBlob, signal: AbortSignal): Promise<PutResult> {
    const path = blobPath(this.#directory, descriptor.digest);
    const known = await stat(path).catch(() => undefined);
    if (known?.size === descriptor.size) return 'present';
    await onDisk(this.#directory, () => writeDurably(path, verified(open(), descriptor), { signal }));
    return 'sent';
  }

  async putManifest(manifest: ManifestDocument, signal: AbortSignal): Promise<void> {
    await this.putBlob(describe(manifest), () => once(manifest.bytes), signal);
  }

  /** Under the fallback tag: the layout has no other place for a list of referrers. */
  async putReferrer(
    manifest: ManifestDocument,
    subject: Digest,
    artifactType: string,
    signal: AbortSignal,
  ): Promise<void> {
    await this.putManifest(manifest, signal);
    const tag = fallbackTag(subject);
    const listed = (await this.#readIndex()).manifests.find(
      (one) => one.annotations?.[ANNOTATION.refName] === tag,
    );
    const bytes =
      listed === undefined ? undefined : await readIfThere(blobPath(this.#directory, listed.digest));
    const index = withReferrer(bytes, manifest, artifactType);
    if (index === undefined) return;
    await this.putManifest(index, signal);
    await onDisk(this.#directory, () => this.#name(describe(index), tag, signal));
  }

  async publish(manifest: ManifestDocument, signal: AbortSignal): Promise<void> {
    await this.putManifest(manifest, signal);
    await onDisk(this.#directory, () => this.#name(describe(manifest), this.#tag, signal));
  }

  async #readIndex(): Promise<Index> {
    const bytes = await readIfThere(join(this.#directory, 'index.json'));
    return bytes === undefined ? { schemaVersion: 2, manifests: [] } : parseIndex(bytes);
  }

  async #name(descriptor: Descriptor, tag: string | undefined, signal: AbortSignal): Promise<void> {
    await makeDirectory(this.#directory);
    await writeDurably(join(this.#directory, 'oci-layout'), [LAYOUT_FILE], { signal });
    const index = await this.#readIndex();
    const others = index.manifests.filter((one) =>
      tag === undefined
        ? one.digest !== descriptor.digest || one.annotations?.[ANNOTATION.refName] !== undefined
        : one.annotations?.[ANNOTATION.refName] !== tag,
    );
    const named =
      tag === undefined ? descriptor : { ...descriptor, annotations: { [ANNOTATION.refName]: tag } };
    const bytes = Buffer.from(JSON.stringify({ ...index, manifests: [...others, named] }));
    await writeDurably(join(this.#directory, 'index.json'), [bytes], { signal });
  }
}

function describe(manifest: ManifestDocument): Descriptor {
  return { mediaType: manifest.mediaType, digest: manifest.digest, size: manifest.bytes.byteLength };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
