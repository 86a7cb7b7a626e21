import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSnapshotter } from '../../worker/snapshotter/create-snapshotter.ts';
import { parseKey } from '../../worker/snapshotter/key.ts';
import type { Labels, Mount, SnapshotKey } from '../../worker/snapshotter/snapshot.ts';
import type { CommitRequest, CreateRequest, Snapshotter } from '../../worker/snapshotter/snapshotter.ts';
import { DirectoryImages } from './directory-images.ts';
import { FailingLog } from './failing-log.ts';

export const NEVER = new AbortController().signal;

/** A snapshotter in a directory of its own, which can be closed and opened again on the same state. */
export class SnapshotterHome {
  readonly directory: string;
  readonly images = new DirectoryImages();
  readonly log = new FailingLog();
  /** What the clock says, in nanoseconds; a test moves it. */
  nowNs = 1_000_000_000n;
  #snapshotter: Snapshotter | undefined;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async open(): Promise<SnapshotterHome> {
    const home = new SnapshotterHome(await mkdtemp(join(tmpdir(), 'sl-home-')));
    await home.start();
    return home;
  }

  get root(): string {
    return join(this.directory, 'r');
  }

  get snapshotter(): Snapshotter {
    if (this.#snapshotter === undefined) throw new Error('the snapshotter is closed');
    return this.#snapshotter;
  }

  async start(): Promise<void> {
    const { root, images, log } = this;
    this.#snapshotter = await createSnapshotter({ root, remoteImages: images, log, clock: () => this.nowNs });
  }

  async stop(): Promise<void> {
    await this.#snapshotter?.close();
    this.#snapshotter = undefined;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async close(): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true });
  }

  prepare(key: string, parent?: string, labels: Labels = {}): Promise<readonly Mount[]> {
    return this.snapshotter.prepare(creation(key, parent, labels), NEVER);
  }

  view(key: string, parent?: string): Promise<readonly Mount[]> {
    return this.snapshotter.view(creation(key, parent, {}), NEVER);
  }

  commit(name: string, key: string, labels: Labels = {}, parent?: string): Promise<void> {
    const request: CommitRequest = { ...creation(key, parent, labels), name: keyOf(name) };
    return this.snapshotter.commit(request, NEVER);
  }

  mounts(key: string): Promise<readonly Mount[]> {
    return this.snapshotter.mounts(keyOf(key), NEVER);
  }

  remove(key: string): Promise<void> {
    return this.snapshotter.remove(keyOf(key));
  }

  /** A committed snapshot with nothing in it. */
  async layer(name: string, parent?: string): Promise<void> {
    await this.prepare(`${name}-active`, parent);
    await this.commit(name, `${name}-active`);
  }
}

export function keyOf(text: string): SnapshotKey {
  return parseKey(text, 'key');
}

function creation(key: string, parent: string | undefined, labels: Labels): CreateRequest {
  return { key: keyOf(key), parent: parent === undefined ? undefined : keyOf(parent), labels };
}
