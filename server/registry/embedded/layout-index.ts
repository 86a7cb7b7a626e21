import { readFile, stat } from 'node:fs/promises';
import { writeDurably } from '../../../schemas/disk/durable-file.ts';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { type Descriptor, type Index, parseIndex } from '../../../schemas/oci/types.ts';
import { isMissing } from '../../../schemas/process/system-error.ts';
import { KeyLock } from '../../../schemas/concurrency/key-lock.ts';
import type { RepositoryFiles } from './repository-files.ts';

/** How many repositories' indexes are kept parsed. */
const MAX_CACHED_INDEXES = 256;

interface CachedIndex {
  /** Changes whenever the file does: it is always replaced, never written in place. */
  readonly stamp: string;
  readonly index: Index;
}

/**
 * The `index.json` of layouts. Readers see the old one or the new one, whole; writers of one repository take
 * turns. The lock is this process's own: one storage directory belongs to one proxy.
 */
export class LayoutIndexes {
  readonly #lock = new KeyLock();
  readonly #cache = new Map<string, CachedIndex>();

  /** undefined where the repository does not exist. */
  async read(files: RepositoryFiles): Promise<Index | undefined> {
    try {
      const { ino, mtimeNs, size } = await stat(files.indexFile, { bigint: true });
      const stamp = `${ino}:${mtimeNs}:${size}`;
      const cached = this.#cache.get(files.indexFile);
      if (cached?.stamp === stamp) return cached.index;
      const index = parseIndex(await readFile(files.indexFile));
      if (this.#cache.size >= MAX_CACHED_INDEXES) this.#cache.clear();
      this.#cache.set(files.indexFile, { stamp, index });
      return index;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /**
   * Replaces the entries by what `change` makes of them, the layout being made where there is none. `change`
   * runs while no other writer does; returning the very array that it was given leaves the file as it is.
   */
  async update(
    files: RepositoryFiles,
    change: (entries: readonly Descriptor[]) => Promise<readonly Descriptor[]>,
  ): Promise<void> {
    await this.#lock.run([files.layoutDir], async () => {
      const index = await this.read(files);
      const before = index?.manifests ?? [];
      const after = await change(before);
      if (index !== undefined && after === before) return;
      const next: Index = {
        ...index,
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.ociIndex,
        manifests: [...after],
      };
      const temporaryDir = files.uploadsDir;
      await writeDurably(files.indexFile, [Buffer.from(JSON.stringify(next))], { temporaryDir });
      // Written last: a repository exists only once it can be read.
      if (index === undefined)
        await writeDurably(files.markerFile, [Buffer.from('{"imageLayoutVersion":"1.0.0"}')], {
          temporaryDir,
        });
    });
  }

  /** Makes an empty layout where there is none. */
  async ensure(files: RepositoryFiles): Promise<void> {
    if (!(await files.exists())) await this.update(files, async (entries) => entries);
  }
}

export function tagOf(entry: Descriptor): string | undefined {
  return entry.annotations?.[ANNOTATION.refName];
}

function untagged(entry: Descriptor): Descriptor {
  const { [ANNOTATION.refName]: _, ...annotations } = entry.annotations ?? {};
  const { annotations: __, ...rest } = entry;
  return Object.keys(annotations).length === 0 ? rest : { ...rest, annotations };
}

/** `entries` with `manifest` in it under `tags`; what a tag stood for before stays, untagged if it has no other. */
export function withManifest(
  entries: readonly Descriptor[],
  manifest: Descriptor,
  tags: readonly string[],
): readonly Descriptor[] {
  const added: Descriptor[] = tags.map((tag) => ({
    ...manifest,
    annotations: { [ANNOTATION.refName]: tag },
  }));
  const known = entries.some((entry) => entry.digest === manifest.digest);
  if (added.length === 0) return known ? entries : [...entries, manifest];
  return [...withoutTags(entries, (tag) => tags.includes(tag)), ...added].filter(
    (entry) => entry.digest !== manifest.digest || tagOf(entry) !== undefined,
  );
}

/** `entries` without the tags that `gone` picks; their manifests stay. */
export function withoutTags(
  entries: readonly Descriptor[],
  gone: (tag: string) => boolean,
): readonly Descriptor[] {
  const kept: Descriptor[] = [];
  const removed: Descriptor[] = [];
  for (const entry of entries) {
    const tag = tagOf(entry);
    (tag !== undefined && gone(tag) ? removed : kept).push(entry);
  }
  if (removed.length === 0) return entries;
  const seen = new Set<Digest>(kept.map((entry) => entry.digest));
  for (const entry of removed) {
    if (seen.has(entry.digest)) continue;
    seen.add(entry.digest);
    kept.push(untagged(entry));
  }
  return kept;
}
