import { readFile } from 'node:fs/promises';
import { writeDurably } from '../../../schemas/disk/durable-file.ts';
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../../../schemas/oci/digest.ts';
import { isTag } from '../../../schemas/oci/reference.ts';
import type { Descriptor } from '../../../schemas/oci/types.ts';
import { type ManifestFacts, readManifest, referrerDescriptor } from '../manifest-document.ts';
import { RegistryError } from '../registry-error.ts';
import type { Blobs } from './blobs.ts';
import { isMissing } from '../../../schemas/process/system-error.ts';
import { type LayoutIndexes, tagOf, withManifest, withoutTags } from './layout-index.ts';
import type { RepositoryFiles } from './repository-files.ts';

/** What is read as a manifest, whatever is taken as one: as much as may be configured. */
const MAX_MANIFEST_BYTES = 64 << 20;
/** How many tags one push may set. */
export const MAX_TAGS_PER_PUSH = 64;
/** How many manifests' subjects are remembered. */
const MAX_REMEMBERED_SUBJECTS = 65_536;

export interface StoredManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

export interface PushedManifest {
  readonly digest: Digest;
  readonly subject?: Digest;
}

/** The manifests and tags of the embedded registry. */
export class Manifests {
  readonly #blobs: Blobs;
  readonly #indexes: LayoutIndexes;
  readonly #sparse: boolean;
  /** By digest, over all repositories: what a manifest refers to, or null. A digest's bytes never change. */
  readonly #subjects = new Map<Digest, Digest | null>();

  /** `sparse` takes manifests whose blobs are not there. */
  constructor(blobs: Blobs, indexes: LayoutIndexes, sparse: boolean) {
    this.#blobs = blobs;
    this.#indexes = indexes;
    this.#sparse = sparse;
  }

  /** `reference` is a tag or a digest; undefined where there is no such manifest. */
  async find(files: RepositoryFiles, reference: string): Promise<Descriptor | undefined> {
    const index = await this.#indexes.read(files);
    return index?.manifests.find((entry) =>
      isDigest(reference) ? entry.digest === reference : tagOf(entry) === reference,
    );
  }

  async read(files: RepositoryFiles, reference: string): Promise<StoredManifest | undefined> {
    const entry = await this.find(files, reference);
    if (entry === undefined) return undefined;
    const bytes = await this.#bytes(files, entry.digest);
    return bytes === undefined ? undefined : { digest: entry.digest, mediaType: entry.mediaType, bytes };
  }

  /**
   * Stores a manifest under a digest or a tag, and under further `tags`.
   *
   * @throws {RegistryError} 'manifest-invalid', 'manifest-blob-unknown', 'digest-invalid', 'too-many-tags'
   */
  async put(
    files: RepositoryFiles,
    reference: string,
    tags: readonly string[],
    declaredType: string | undefined,
    bytes: Uint8Array,
  ): Promise<PushedManifest> {
    const byDigest = isDigest(reference);
    const names = byDigest ? [...new Set(tags)] : [...new Set([reference, ...tags])];
    if (names.length > MAX_TAGS_PER_PUSH)
      throw new RegistryError({ kind: 'too-many-tags', limit: MAX_TAGS_PER_PUSH });
    const bad = names.find((name) => !isTag(name));
    if (bad !== undefined) {
      throw new RegistryError({
        kind: 'manifest-invalid',
        reason: `not a tag: ${JSON.stringify(bad.slice(0, 160))}`,
      });
    }
    const digest = digestOf(bytes, byDigest ? digestAlgorithm(reference) : 'sha256');
    if (byDigest && digest !== reference) {
      throw new RegistryError({
        kind: 'digest-invalid',
        reason: `the manifest is ${digest}, not ${reference}`,
      });
    }
    const document = readManifest(bytes, declaredType);
    const descriptor: Descriptor = { mediaType: document.mediaType, digest, size: bytes.byteLength };
    await this.#indexes.update(files, async (entries) => {
      // In the turn of this writer, so that no deletion comes between the look and the entry.
      if (!this.#sparse) await this.#requireBlobs(files, document);
      if ((await this.#blobs.sizeBytes(files, digest)) === undefined) {
        await writeDurably(files.blobFile(digest), [bytes], { temporaryDir: files.uploadsDir });
      }
      return withManifest(entries, descriptor, names);
    });
    this.#remember(digest, document);
    return { digest, ...(document.subject === undefined ? {} : { subject: document.subject }) };
  }

  /** Deletes a tag, or a manifest with all its tags. @returns false where there was none. */
  async remove(files: RepositoryFiles, reference: string): Promise<boolean> {
    if ((await this.find(files, reference)) === undefined) return false;
    await this.#indexes.update(files, async (entries) => {
      if (!isDigest(reference)) return withoutTags(entries, (tag) => tag === reference);
      const kept = entries.filter((entry) => entry.digest !== reference);
      await this.#blobs.remove(files, reference);
      return kept;
    });
    return true;
  }

  /** undefined without a repository. */
  async tags(files: RepositoryFiles): Promise<string[] | undefined> {
    const index = await this.#indexes.read(files);
    return index?.manifests.flatMap((entry) => tagOf(entry) ?? []);
  }

  /** The descriptors of all manifests whose subject is `subject`, whether or not that is there, by digest. */
  async referrers(files: RepositoryFiles, subject: Digest): Promise<Descriptor[]> {
    const index = await this.#indexes.read(files);
    const found = new Map<Digest, Descriptor>();
    for (const entry of index?.manifests ?? []) {
      if (found.has(entry.digest) || (await this.#subjectOf(files, entry)) !== subject) continue;
      const bytes = await this.#bytes(files, entry.digest);
      if (bytes === undefined) continue;
      const facts = readManifest(bytes, entry.mediaType);
      found.set(entry.digest, referrerDescriptor(facts, entry.digest, bytes.byteLength));
    }
    return [...found.values()].sort((a, b) => (a.digest < b.digest ? -1 : 1));
  }

  async #subjectOf(files: RepositoryFiles, entry: Descriptor): Promise<Digest | null> {
    const known = this.#subjects.get(entry.digest);
    if (known !== undefined) return known;
    const bytes = await this.#bytes(files, entry.digest);
    if (bytes === undefined) return null;
    try {
      return this.#remember(entry.digest, readManifest(bytes, entry.mediaType));
    } catch (error) {
      // Put there by another program: whatever it is, it is no referrer.
      if (error instanceof RegistryError) return null;
      throw error;
    }
  }

  #remember(digest: Digest, { subject }: ManifestFacts): Digest | null {
    if (this.#subjects.size >= MAX_REMEMBERED_SUBJECTS) this.#subjects.clear();
    this.#subjects.set(digest, subject ?? null);
    return subject ?? null;
  }

  async #requireBlobs(files: RepositoryFiles, { blobs }: ManifestFacts): Promise<void> {
    for (const digest of new Set(blobs)) {
      if ((await this.#blobs.sizeBytes(files, digest)) === undefined) {
        throw new RegistryError({ kind: 'manifest-blob-unknown', digest });
      }
    }
  }

  async #bytes(files: RepositoryFiles, digest: Digest): Promise<Uint8Array | undefined> {
    const sizeBytes = await this.#blobs.sizeBytes(files, digest);
    if (sizeBytes === undefined || sizeBytes > MAX_MANIFEST_BYTES) return undefined;
    try {
      return await readFile(files.blobFile(digest));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }
}
