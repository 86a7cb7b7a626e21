import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { ContainerdClient } from './client.ts';
import { isContainerdError } from './containerd-error.ts';

export type SnapshotCollectionDeps = {
  readonly client: ContainerdClient;
  /** This snapshotter's name in containerd. */
  readonly snapshotter: string;
  /** The keys of all snapshots that containerd has made here. */
  readonly keys: () => Iterable<string>;
  /** Between tries to reach a containerd that is away for long, on top of the client's own. */
  readonly pauseMs: number;
  readonly log: Logger;
};

/** Should the daemon die half-way, containerd drops the lease and the snapshot after this time. */
const LEASE_LIFETIME_MS = 60_000;

/**
 * Has containerd give up the snapshots that nothing refers to. It does so by itself after each removal (v1.6,
 * metadata/db.go), but tries only once: what was removed while the daemon could not be reached, as in a restart and
 * the seconds after it, would take up its room until some other snapshot is removed. So one is made and removed.
 */
export class SnapshotCollection {
  readonly #deps: SnapshotCollectionDeps;

  constructor(deps: SnapshotCollectionDeps) {
    this.#deps = deps;
  }

  /** Returns when they are removed; asks for nothing where containerd has made no snapshot. @throws {ContainerdError} */
  async collect(signal: AbortSignal): Promise<void> {
    const { client, snapshotter } = this.#deps;
    const namespace = this.#namespace();
    if (namespace === undefined) return;
    const id = `starlight-${randomUUID()}`;
    await client.createLease(namespace, id, new Date(Date.now() + LEASE_LIFETIME_MS), signal);
    const scope = { namespace, lease: id };
    await client.prepareSnapshot(scope, snapshotter, id, signal);
    await client.removeSnapshot(scope, snapshotter, id, signal);
    await client.deleteLease(namespace, id, signal, 'collect');
  }

  /** The same once containerd can be reached, however late that is. */
  async collectWhenReachable(signal: AbortSignal): Promise<void> {
    const { pauseMs, log } = this.#deps;
    for (;;) {
      try {
        return await this.collect(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!isContainerdError(error, 'unavailable')) throw error;
        log.debug({ err: error }, 'containerd cannot be asked yet to collect its snapshots');
        await delay(pauseMs, undefined, { signal });
      }
    }
  }

  /** One that is in use: containerd collects all of them together. */
  #namespace(): string | undefined {
    for (const key of this.#deps.keys()) {
      const namespace = /^([^/]+)\/\d+\//.exec(key)?.[1]; // containerd's form: namespace/number/name
      if (namespace !== undefined) return namespace;
    }
    return undefined;
  }
}
