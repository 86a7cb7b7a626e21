import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { LayerTocBuilder } from '../../schemas/toc/builder.ts';
import { KIND } from '../../schemas/toc/kind.ts';
import { mergeLayers } from '../../schemas/toc/merge.ts';
import type { Tree } from '../../schemas/toc/tree.ts';
import { contentPath } from '../filesystem/content-files.ts';
import { isMounted } from '../filesystem/mount-table.ts';
import type { ImageForm } from '../snapshotter/snapshot.ts';
import { MetadataImage } from './erofs/metadata-image.ts';
import { mountForm, type MountWay, unmountForm } from './form-mount.ts';

/** Whether this machine's kernel can show complete forms, and how. */
export type CompleteSupport =
  | { readonly usable: true; readonly way: MountWay; readonly form: Exclude<ImageForm, 'served'> }
  | { readonly usable: false; readonly reason: string };

const WAYS: readonly MountWay[] = ['file', 'loop'];
const FORMS = [
  { form: 'complete', options: '' },
  { form: 'complete-metacopy', options: 'metacopy=on,redirect_dir=on,' },
] as const;

const CONTENT = Buffer.from('complete');
const DIFF_ID = digestOf('a tree of one file') as Digest;

/**
 * Finds out by doing it: mounts an image of one file below `directory` (on the file system that the real ones are
 * on) and reads the file through overlayfs. Leaves nothing behind, and takes away what an earlier process that was
 * killed meanwhile left there.
 */
export async function findSupport(directory: string): Promise<CompleteSupport> {
  if (process.platform !== 'linux') return { usable: false, reason: `the platform is ${process.platform}` };
  if (process.geteuid?.() !== 0) return { usable: false, reason: 'mount(2) needs root' };
  const probe = new Probe(directory);
  try {
    await probe.clear();
    await probe.prepare();
    return await probe.run();
  } catch (error) {
    return { usable: false, reason: messageOf(error) };
  } finally {
    await probe.clear().catch(() => undefined); // the next start clears it
  }
}

class Probe {
  readonly #directory: string;
  readonly #image: string;
  readonly #store: string;
  readonly #lower: string;
  readonly #merged: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.#image = join(directory, 'image');
    this.#store = join(directory, 'store');
    this.#lower = join(directory, 'lower');
    this.#merged = join(directory, 'merged');
  }

  async prepare(): Promise<void> {
    const tree = oneFile();
    const content = contentPath(this.#store, tree.contentDigest, 0);
    for (const path of [join(content, '..'), this.#lower, this.#merged]) {
      await mkdir(path, { recursive: true, mode: 0o700 });
    }
    await writeFile(content, CONTENT);
    await writeFile(this.#image, new MetadataImage(tree, Buffer.alloc(16)).pieces());
  }

  async run(): Promise<CompleteSupport> {
    const way = await this.#mountLower();
    if (typeof way !== 'string') return { usable: false, reason: `EROFS: ${messageOf(way.error)}` };
    const { mountReadOnly } = await import('../filesystem/kernel/system-calls.ts');
    let failure: unknown;
    for (const { form, options } of FORMS) {
      try {
        mountReadOnly(
          'overlay',
          this.#merged,
          'overlay',
          `${options}lowerdir=${this.#lower}::${this.#store}`,
        );
        const content = await readFile(join(this.#merged, FILE_NAME));
        if (content.equals(CONTENT)) return { usable: true, way, form };
        failure = new Error('other contents than those written');
      } catch (error) {
        failure = error;
      } finally {
        if (isMounted(this.#merged)) await unmountForm(this.#merged);
      }
    }
    const reason = `overlayfs with a data-only layer (Linux 6.5): ${messageOf(failure)}`;
    return { usable: false, reason };
  }

  async clear(): Promise<void> {
    for (const mountpoint of [this.#merged, this.#lower]) {
      if (isMounted(mountpoint)) await unmountForm(mountpoint);
    }
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #mountLower(): Promise<MountWay | { readonly error: unknown }> {
    let failure: unknown;
    for (const way of WAYS) {
      try {
        await mountForm(this.#image, this.#lower, way);
        return way;
      } catch (error) {
        failure = error;
      }
    }
    return { error: failure };
  }
}

const FILE_NAME = 'file';

function oneFile(): Tree {
  const builder = new LayerTocBuilder();
  const content = builder.addContent({
    digest: Buffer.from(digestOf(CONTENT).slice(7), 'hex'),
    sizeBytes: CONTENT.length,
    payload: builder.addPayload(0, 1),
    innerOffset: 0,
  });
  builder.add({ kind: KIND.file, path: Buffer.from(FILE_NAME), mode: 0o444, content });
  return mergeLayers([builder.finish(DIFF_ID)]);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
