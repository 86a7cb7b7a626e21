import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { chmod, lchown, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { SnapshotId, SnapshotKind } from './snapshot.ts';
import type { Trash } from './trash.ts';

/** Permission of the root of a writable layer (containerd, plugins/snapshots/overlay). */
const UPPER_MODE = 0o755;
const WORK_MODE = 0o711;
const DRAFT_PREFIX = 'new-';

export type Owner = { readonly uid: number; readonly gid: number };

/**
 * The directories of the local snapshots: `<root>/<id>/fs` with the files and, for active ones,
 * `<root>/<id>/work` for overlayfs. A directory is made under a temporary name and takes its id when the
 * snapshot is recorded; one without a record is a stray.
 */
export class SnapshotDirectories {
  readonly #root: string;
  readonly #trash: Trash;
  /** Names that are being made: not strays yet. */
  readonly #drafts = new Set<string>();

  private constructor(root: string, trash: Trash) {
    this.#root = root;
    this.#trash = trash;
  }

  static async open(root: string, trash: Trash): Promise<SnapshotDirectories> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    return new SnapshotDirectories(root, trash);
  }

  upper(id: SnapshotId): string {
    return join(this.#root, String(id), 'fs');
  }

  work(id: SnapshotId): string {
    return join(this.#root, String(id), 'work');
  }

  /**
   * Makes a directory and lets `use` give it the id of its snapshot by calling `place`, which is synchronous to
   * fit into a transaction. When `use` throws, the directory is discarded.
   */
  async create<T>(
    kind: Exclude<SnapshotKind, 'committed'>,
    owner: Owner | undefined,
    use: (place: (id: SnapshotId) => void) => T,
  ): Promise<T> {
    const draft = join(this.#root, DRAFT_PREFIX + randomUUID());
    let path = draft;
    this.#drafts.add(draft); // before it exists, so that it is never seen as a stray
    try {
      await mkdir(draft, { mode: 0o700 });
      await makeIn(path, kind, owner);
      return use((id) => {
        const placed = join(this.#root, String(id));
        renameSync(path, placed);
        path = placed;
      });
    } catch (error) {
      this.#trash.discard(path);
      throw error;
    } finally {
      this.#drafts.delete(draft);
    }
  }

  discard(id: SnapshotId): void {
    this.#trash.discard(join(this.#root, String(id)));
  }

  /** Discards what belongs to no snapshot: `ids` is asked after the names were read, so none is too new. */
  async discardStrays(ids: () => ReadonlySet<SnapshotId>): Promise<number> {
    const names = (await readdir(this.#root)).filter((name) => !this.#drafts.has(join(this.#root, name)));
    const used = ids();
    let strays = 0;
    for (const name of names) {
      if (/^[1-9][0-9]*$/.test(name) && used.has(Number(name) as SnapshotId)) continue;
      this.#trash.discard(join(this.#root, name));
      strays += 1;
    }
    return strays;
  }
}

async function makeIn(path: string, kind: SnapshotKind, owner: Owner | undefined): Promise<void> {
  const upper = join(path, 'fs');
  await mkdir(upper);
  if (owner !== undefined) await lchown(upper, owner.uid, owner.gid);
  await chmod(upper, UPPER_MODE); // mkdir's mode is cut by the umask
  if (kind === 'active') await mkdir(join(path, 'work'), { mode: WORK_MODE });
}
