import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LabelsMessage, MountMessage } from '../../schemas/proto/snapshots.ts';
import { apply, type Change } from './change.ts';
import type { Info, SnapshotterClient } from './client.ts';
import { mountAll, unmountAll } from './mount.ts';
import { assertSameTree } from './tree.ts';

/** One case's place: a directory of its own, names of its own, and helpers to use snapshots. */
export class Bench {
  readonly client: SnapshotterClient;
  readonly directory: string;
  /** Begins every name, because a running snapshotter is shared with other cases. */
  readonly prefix: string;
  /** Keeps containerd's garbage collector off, and marks the snapshots of this case. */
  readonly labels: LabelsMessage;

  private constructor(client: SnapshotterClient, directory: string, prefix: string) {
    this.client = client;
    this.directory = directory;
    this.prefix = prefix;
    this.labels = { 'containerd.io/gc.root': prefix };
  }

  static async open(client: SnapshotterClient): Promise<Bench> {
    const directory = await mkdtemp(join(tmpdir(), 'snapshot-suite-'));
    return new Bench(client, directory, `suite-${randomBytes(6).toString('hex')}-`);
  }

  key(name: string): string {
    return this.prefix + name;
  }

  /** The filter that this case's snapshots pass. */
  get filter(): string {
    return `labels."containerd.io/gc.root"==${this.prefix}`;
  }

  prepare(key: string, parent = ''): Promise<readonly MountMessage[]> {
    return this.client.prepare(key, parent, this.labels);
  }

  view(key: string, parent = ''): Promise<readonly MountMessage[]> {
    return this.client.view(key, parent, this.labels);
  }

  commit(name: string, key: string): Promise<void> {
    return this.client.commit(name, key, this.labels);
  }

  async walk(filters: readonly string[]): Promise<Info[]> {
    return Array.fromAsync(this.client.walk(filters));
  }

  /** Runs `use` with the mounts applied to a new directory, and unmounts them. */
  async mounted<T>(mounts: readonly MountMessage[], use: (root: string) => Promise<T>): Promise<T> {
    const target = await mkdtemp(join(this.directory, 'm-'));
    await mountAll(mounts, target);
    try {
      return await use(target);
    } finally {
      await unmountAll(target);
    }
  }

  /** A committed snapshot over `parent` with `changes` applied. */
  async layer(name: string, parent: string, changes: readonly Change[]): Promise<string> {
    const active = this.key(`${name}-prepare`);
    const mounts = await this.prepare(active, parent);
    await this.mounted(mounts, (root) => apply(root, changes));
    const committed = this.key(name);
    await this.commit(committed, active);
    return committed;
  }

  /** An empty directory for the same changes without layers. */
  async flat(name: string): Promise<string> {
    const path = join(this.directory, name);
    await mkdir(path);
    return path;
  }

  /**
   * Commits a chain of layers and compares, after each, a view of it with one plain directory that got the same
   * changes.
   */
  async checkLayers(name: string, layers: readonly (readonly Change[])[]): Promise<void> {
    const flat = await this.flat(`${name}-flat`);
    let parent = '';
    for (const [index, changes] of layers.entries()) {
      parent = await this.layer(`${name}-${index}`, parent, changes);
      await apply(flat, changes);
      const view = this.key(`${name}-${index}-view`);
      const mounts = await this.view(view, parent);
      await this.mounted(mounts, (root) => assertSameTree(flat, root, `layer ${index}`));
      await this.client.remove(view);
    }
  }

  /** Removes what the case left, children first. */
  async close(): Promise<void> {
    let left = (await this.walk([])).filter((info) => info.name.startsWith(this.prefix));
    while (left.length > 0) {
      const parents = new Set(left.map((info) => info.parent));
      const leaves = left.filter((info) => !parents.has(info.name));
      if (leaves.length === 0) throw new Error('the snapshots of a case form a circle');
      for (const { name } of leaves) await this.client.remove(name);
      left = left.filter((info) => parents.has(info.name));
    }
    await rm(this.directory, { recursive: true });
  }
}
