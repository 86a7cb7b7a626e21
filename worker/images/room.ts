import type { Logger } from 'pino';
import { KeyLock } from '../../schemas/concurrency/key-lock.ts';
import { whenAborted } from '../../schemas/concurrency/when-aborted.ts';
import type { ContentStore } from '../store/content-store.ts';
import type { MissingContent, Quota } from '../store/quota.ts';
import { StoreError } from '../store/store-error.ts';
import type { Collector } from './collector.ts';

export type RoomDeps = {
  readonly store: ContentStore;
  readonly quota: Quota;
  readonly collector: Collector;
  readonly log: Logger;
};

/** `quotaBytes` 0: none. Reserved is what contents on their way will take up. */
export type RoomStatus = { readonly quotaBytes: number; readonly reservedBytes: number };

const RESERVE = 'reserve';

/** Room in the store for what pulls bring: kept for them before they begin, made where there is none. */
export class Room {
  readonly #deps: RoomDeps;
  readonly #lock = new KeyLock();

  constructor(deps: RoomDeps) {
    this.#deps = deps;
    deps.store.onArrival((digest) => deps.quota.arrived(digest));
  }

  /** Without a quota nothing needs to be reserved. */
  get isLimited(): boolean {
    return this.#deps.quota.isLimited;
  }

  /**
   * Keeps room for contents, evicting what nothing needs where there is too little. First come, first served.
   * @returns what gives back the rest of it: to be called once they have arrived, or never will.
   * @throws {StoreError} `quota-exceeded`: nothing was reserved or evicted.
   */
  reserve(missing: Iterable<MissingContent>, signal: AbortSignal): Promise<() => void> {
    return this.#lock.run([RESERVE], async () => {
      const { store, quota, collector, log } = this.#deps;
      const { addedBytes, release } = quota.reserve(missing);
      try {
        if (quota.excessBytes((await store.usage(signal)).bytes) === 0) return release;
        const excessBytes = (usedBytes: number): number => quota.excessBytes(usedBytes);
        const made = await collector.makeRoom({ excessBytes, isPartly: false }, signal);
        const usedBytes = (await store.usage(signal)).bytes;
        if (quota.excessBytes(usedBytes) > 0) {
          const reservedBytes = quota.reservedBytes - addedBytes;
          const { bytes: evictableBytes } = await collector.evictable(signal);
          const figures = { limitBytes: quota.limitBytes, usedBytes, reservedBytes, evictableBytes };
          throw new StoreError({ kind: 'quota-exceeded', neededBytes: addedBytes, ...figures });
        }
        log.info({ neededBytes: addedBytes, ...made }, 'room was made for a pull');
        return release;
      } catch (error) {
        release();
        throw error;
      }
    });
  }

  /** The disk is full, whatever the quota says: removes what nothing needs until so many bytes more are free. */
  async makeRoom(wantedBytes: number, signal: AbortSignal): Promise<boolean> {
    const { store, collector, log } = this.#deps;
    const { bytes: before } = await store.usage(signal);
    const excessBytes = (usedBytes: number): number => Math.max(0, wantedBytes - (before - usedBytes));
    try {
      // The run under way may be ending the very download that asks: it must not wait for that run.
      const made = collector.makeRoom({ excessBytes, isPartly: true }, signal);
      const { removedBytes } = await Promise.race([made, whenAborted(signal)]);
      return removedBytes > 0;
    } catch (error) {
      signal.throwIfAborted();
      log.error({ err: error }, 'no room could be made on a disk that is full'); // not even for the database
      return false;
    }
  }

  status(): RoomStatus {
    const { limitBytes: quotaBytes, reservedBytes } = this.#deps.quota;
    return { quotaBytes, reservedBytes };
  }
}
