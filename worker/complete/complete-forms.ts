import { createHash } from 'node:crypto';
import { mkdir, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { KeyLock } from '../../schemas/concurrency/key-lock.ts';
import { Semaphore } from '../../schemas/concurrency/semaphore.ts';
import { whenAborted } from '../../schemas/concurrency/when-aborted.ts';
import type { ChainId } from '../../schemas/oci/chain-id.ts';
import { type Digest, digestHex } from '../../schemas/oci/digest.ts';
import { isMissing } from '../../schemas/process/system-error.ts';
import { isMounted } from '../filesystem/mount-table.ts';
import type { Catalogue } from '../images/catalogue.ts';
import type { DocumentFiles } from '../images/document-files.ts';
import type { Image } from '../images/image.ts';
import type { ImageMount } from '../snapshotter/remote-images.ts';
import type { ImageForm, SnapshotKey } from '../snapshotter/snapshot.ts';
import { buildAside } from './build-aside.ts';
import type { FormOrder } from './build-form.ts';
import { mountForm, unmountForm } from './form-mount.ts';
import { FORM_VERSION, FormRecords } from './form-records.ts';
import { type CompleteSupport, findSupport } from './support.ts';

export type CompleteFormsDeps = {
  readonly root: string;
  readonly catalogue: Catalogue;
  readonly documents: DocumentFiles;
  readonly storeDirectory: string;
  /** False: none is written, and new snapshots get none; those that have it keep it. */
  readonly enabled: boolean;
  readonly nowMs: () => number;
  readonly log: Logger;
};

/** How an image is mounted from now on; `building` (or being checked) becomes `complete` by itself. */
export type FormState = 'served' | 'building' | 'complete';

type Build = { readonly stop: AbortController; readonly done: Promise<void> };

/** After a failure it is not tried again for so long. */
const REFUSED_FOR_MS = 10 * 60_000;
/** Metadata images written at the same time. */
const BUILDS_AT_ONCE = 1;

/**
 * The complete forms of trees: metadata images that the kernel shows by itself, with the store as data layer.
 *
 *     <root>/complete/<chain hex>.erofs   the file, whole when it is recorded
 *     <root>/complete/<chain hex>/        where it is mounted, as long as a snapshot needs it
 *     <root>/complete/tmp/                being written
 *
 * One is written when an image has become complete (for its topmost layer), or when a snapshot of a complete image
 * was made on a lower layer (for those to come). It goes with the last image that has its layers. Mounts outlive
 * the daemon and are found again; files are checked against their digest, and their contents for being there, in the
 * background after a start, and offered to new snapshots then.
 */
export class CompleteForms {
  readonly support: CompleteSupport;
  readonly #deps: CompleteFormsDeps;
  readonly #directory: string;
  readonly #records: FormRecords;
  readonly #lock = new KeyLock();
  readonly #turns = new Semaphore(BUILDS_AT_ONCE);
  /** One per chain at most; the rest of their number waits for its turn. */
  readonly #builds = new Map<ChainId, Build>();
  readonly #refusedUntilMs = new Map<ChainId, number>();
  /** Those whose file and contents were found whole in this life of the daemon. */
  readonly #checked = new Set<ChainId>();
  readonly #keys = new Map<ChainId, Set<SnapshotKey>>();
  #sweeping: Promise<void> = Promise.resolve();
  #closed = false;

  private constructor(deps: CompleteFormsDeps, directory: string, support: CompleteSupport) {
    this.#deps = deps;
    this.#directory = directory;
    this.#records = new FormRecords(deps.catalogue.db);
    this.support = support;
  }

  static async open(deps: CompleteFormsDeps): Promise<CompleteForms> {
    await mkdir(join(deps.root, 'complete'), { recursive: true, mode: 0o700 });
    const directory = await realpath(join(deps.root, 'complete')); // as the mount table has it
    await emptyDirectory(join(directory, 'tmp'));
    const support = await findSupport(join(directory, 'probe'));
    const forms = new CompleteForms(deps, directory, support);
    if (support.usable)
      deps.log.info({ ...support, enabled: deps.enabled }, 'complete forms are possible here');
    else deps.log.warn({ reason: support.reason }, 'images stay served: no complete forms on this machine');
    deps.catalogue.onComplete((manifestDigest) => {
      const image = deps.catalogue.find(manifestDigest);
      if (image !== undefined) forms.#requestTop(image);
    });
    deps.catalogue.onRemoved(() => forms.#afterRemoval());
    return forms;
  }

  /** Why new snapshots get none; undefined when they do. */
  get obstacle(): string | undefined {
    if (!this.#deps.enabled) return 'turned off (filesystem.completeForm)';
    return this.support.usable ? undefined : this.support.reason;
  }

  /** The form in which a new snapshot over `chainId` can have it now. */
  offer(chainId: ChainId): Exclude<ImageForm, 'served'> | undefined {
    if (!this.#deps.enabled || !this.support.usable) return undefined;
    if (!this.#checked.has(chainId) || this.#records.find(chainId) === undefined) return undefined;
    return this.#deps.catalogue.findByChain(chainId)?.image.state === 'complete'
      ? this.support.form
      : undefined;
  }

  stateOf(image: Image): FormState {
    const chainId = image.layers.at(-1)?.chainId;
    if (chainId === undefined) return 'served';
    if (this.offer(chainId) !== undefined) return 'complete';
    return this.#builds.has(chainId) ? 'building' : 'served';
  }

  /** Those of which a snapshot uses the form. */
  get chains(): Iterable<ChainId> {
    return this.#keys.keys();
  }

  /** Whether a snapshot uses the complete form of a layer of the image. */
  isMounted(image: Image): boolean {
    return image.layers.some(({ chainId }) => this.#keys.has(chainId));
  }

  /** Has the form written or, for the first time in the daemon's life, checked, when its image is complete. */
  request(chainId: ChainId): void {
    const { catalogue, nowMs, enabled, log } = this.#deps;
    if (this.#closed || !enabled || !this.support.usable || this.#builds.has(chainId)) return;
    if (catalogue.findByChain(chainId)?.image.state !== 'complete') return;
    if (this.#checked.has(chainId) && this.#records.find(chainId) !== undefined) return;
    if ((this.#refusedUntilMs.get(chainId) ?? 0) > nowMs()) return;
    this.#build(chainId).catch((error: unknown) => {
      if (this.#closed) return;
      // contents that only a lower layer shows come when they are opened: then it is asked for again
      if (!(error instanceof IncompleteError)) this.#refusedUntilMs.set(chainId, nowMs() + REFUSED_FOR_MS);
      log.warn({ err: error, chainId }, 'no complete form: the image stays served');
    });
  }

  /** {@link request}s those of all images that are complete, and those that are on the disk. */
  requestAll(): void {
    for (const chainId of this.#records.chains()) this.request(chainId);
    for (const image of this.#deps.catalogue.list()) if (image.state === 'complete') this.#requestTop(image);
  }

  /**
   * Mounts the form for `key` unless it is mounted, after the file was checked in this life of the daemon; a damaged
   * or missing one is written anew first. @throws {Error} when it cannot be had.
   */
  mount(
    chainId: ChainId,
    key: SnapshotKey,
    form: Exclude<ImageForm, 'served'>,
    signal: AbortSignal,
  ): Promise<ImageMount> {
    const { support } = this;
    if (!support.usable) return Promise.reject(new Error(support.reason));
    if (form === 'complete' && support.form !== 'complete') {
      return Promise.reject(new Error('this kernel follows complete forms with metacopy=on only'));
    }
    return this.#lock.run([chainId], async () => {
      const mountpoint = this.#mountpoint(chainId);
      if (!isMounted(mountpoint)) {
        await this.#ensureFile(chainId, signal);
        await mkdir(mountpoint, { recursive: true, mode: 0o700 });
        await mountForm(this.#file(chainId), mountpoint, support.way);
        this.#deps.log.info({ chainId }, 'a complete form is mounted');
      }
      this.#keys.set(chainId, (this.#keys.get(chainId) ?? new Set()).add(key));
      return { form, lowers: [mountpoint], dataLowers: [this.#deps.storeDirectory] };
    });
  }

  async unmount(chainId: ChainId, key: SnapshotKey): Promise<void> {
    await this.#lock.run([chainId], async () => {
      const keys = this.#keys.get(chainId);
      if (keys === undefined || !keys.delete(key) || keys.size > 0) return;
      this.#keys.delete(chainId);
      await this.#unmount(chainId);
    });
  }

  /** Takes away mounts that no snapshot needs and files without a record; after those needed are mounted. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      const match = /^([0-9a-f]{64})(\.erofs)?$/.exec(name);
      if (match === null) continue;
      const chainId = `sha256:${match[1]}` as ChainId; // just matched
      await this.#lock
        .run([chainId], () => this.#tidy(chainId))
        .catch((error: unknown) =>
          this.#deps.log.warn({ err: error, chainId }, 'a complete form stays behind'),
        );
    }
  }

  /** Stops what is written. With `leaveMounted`, what is mounted stays for the next daemon. */
  async close({ leaveMounted }: { readonly leaveMounted: boolean }): Promise<void> {
    this.#closed = true;
    const builds = [...this.#builds.values()];
    for (const { stop } of builds) stop.abort(new Error('the daemon is stopping'));
    await Promise.allSettled(builds.map(({ done }) => done));
    await this.#sweeping;
    await this.#lock.settled();
    if (leaveMounted) return;
    for (const chainId of this.#keys.keys()) await this.#unmount(chainId);
  }

  #requestTop(image: Image): void {
    const top = image.layers.at(-1)?.chainId;
    if (top !== undefined) this.request(top);
  }

  /** Stops builds of what is gone, and takes away its files. */
  #afterRemoval(): void {
    for (const [chainId, { stop }] of this.#builds) {
      if (this.#deps.catalogue.findByChain(chainId) === undefined)
        stop.abort(new Error('the image is removed'));
    }
    for (const chainId of this.#refusedUntilMs.keys()) {
      if (this.#deps.catalogue.findByChain(chainId) === undefined) this.#refusedUntilMs.delete(chainId);
    }
    this.#sweeping = this.#sweeping
      .then(() => this.sweep())
      .catch((error: unknown) => this.#deps.log.warn({ err: error }, 'files of removed images stay behind'));
  }

  async #tidy(chainId: ChainId): Promise<void> {
    if (!this.#keys.has(chainId)) await this.#unmount(chainId);
    if (this.#records.find(chainId) !== undefined || this.#builds.has(chainId)) return;
    this.#checked.delete(chainId);
    await rm(this.#file(chainId), { force: true });
  }

  async #unmount(chainId: ChainId): Promise<void> {
    const mountpoint = this.#mountpoint(chainId);
    if (isMounted(mountpoint)) await unmountForm(mountpoint);
    await rmdir(mountpoint).catch((error: unknown) => {
      if (!isMissing(error))
        this.#deps.log.warn({ err: error }, 'the directory of an unmounted form stays behind');
    });
  }

  async #ensureFile(chainId: ChainId, signal: AbortSignal): Promise<void> {
    if (!this.#checked.has(chainId)) await Promise.race([this.#build(chainId), whenAborted(signal)]);
  }

  #build(chainId: ChainId): Promise<void> {
    const running = this.#builds.get(chainId);
    if (running !== undefined) return running.done;
    const stop = new AbortController();
    const done = this.#turns
      .run(() => this.#write(chainId, stop.signal), stop.signal)
      .finally(() => this.#builds.delete(chainId));
    this.#builds.set(chainId, { stop, done });
    return done;
  }

  async #write(chainId: ChainId, signal: AbortSignal): Promise<void> {
    const { catalogue, documents, storeDirectory, log, nowMs } = this.#deps;
    const found = catalogue.findByChain(chainId);
    if (found === undefined) throw new Error(`no image here has the layers ${chainId}`);
    const startedMs = nowMs();
    const record = this.#records.find(chainId);
    const { tocDigest } = found.image;
    const order: FormOrder = {
      tocPath: documents.pathOf(tocDigest),
      ...{ tocDigest, depth: found.depth, storeDirectory, target: this.#file(chainId) },
      temporaryDir: join(this.#directory, 'tmp'),
      uuid: uuidOf(chainId),
      expected: record?.digest,
    };
    try {
      const outcome = await buildAside(order, signal);
      if (outcome.kind === 'incomplete') throw new IncompleteError(outcome.missing);
      signal.throwIfAborted();
      if (outcome.kind === 'built') {
        if (!this.#records.put(chainId, outcome)) throw new Error('the image is removed');
        const { inodes, sizeBytes } = outcome;
        if (record !== undefined)
          log.warn({ chainId }, 'a metadata image was damaged or lost: it is written anew');
        log.info(
          { chainId, inodes, sizeBytes, elapsedMs: nowMs() - startedMs },
          'a complete form is written',
        );
      }
      this.#checked.add(chainId);
    } catch (error) {
      await emptyDirectory(order.temporaryDir); // one build at a time has it
      // cut short by a stop of the daemon it is as good as before
      if (!this.#closed || this.#records.find(chainId) === undefined) {
        this.#records.remove(chainId);
        await rm(order.target, { force: true });
      }
      throw error;
    }
  }

  #file(chainId: ChainId): string {
    return join(this.#directory, `${digestHex(chainId)}.erofs`);
  }

  #mountpoint(chainId: ChainId): string {
    return join(this.#directory, digestHex(chainId));
  }
}

class IncompleteError extends Error {
  constructor(missing: number) {
    super(`${missing} contents are not in the store`);
    this.name = 'IncompleteError';
  }
}

/** The same for the same bytes, and no other: overlayfs knows files of a lower layer again by it and their number. */
function uuidOf(chainId: Digest): Uint8Array {
  return createHash('sha256').update(`${FORM_VERSION} ${chainId}`).digest().subarray(0, 16);
}

async function emptyDirectory(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  await mkdir(path, { recursive: true, mode: 0o700 });
}
