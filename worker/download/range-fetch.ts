import type { Logger } from 'pino';
import { Semaphore } from '../../schemas/concurrency/semaphore.ts';
import type { ContentLocator, ContentRow } from '../images/content-locator.ts';
import type { Image } from '../images/image.ts';
import type { ContentStore } from '../store/content-store.ts';
import { Backoff, type BackoffOptions } from './backoff.ts';
import { ByteSource } from './byte-source.ts';
import { DownloadError, isTransient } from './download-error.ts';
import { IN_MEMORY_LIMIT_BYTES, storePayload, storePayloadStream } from './payload.ts';
import type { ProxyClient } from './proxy-client.ts';
import type { AuthScope } from './auth-scope.ts';

export type RangeFetchDeps = {
  readonly proxy: ProxyClient;
  readonly store: ContentStore;
  readonly backoff: BackoffOptions;
  /** How many ranges are fetched at once, for all images together. */
  readonly concurrency: number;
  readonly log: Logger;
};

/** A content that comes wrong is asked for this often; then the registry's own blob must be damaged. */
const WRONG_ATTEMPTS = 3;

/**
 * Fetches single contents by the range of the layer blob that holds them: those that are in no bundle, those that
 * a bundle gave wrongly, and those that somebody waits for far behind in the stream.
 */
export class RangeFetch {
  readonly #deps: RangeFetchDeps;
  readonly #slots: Semaphore;

  constructor(deps: RangeFetchDeps) {
    this.#deps = deps;
    this.#slots = new Semaphore(deps.concurrency);
  }

  get concurrency(): number {
    return this.#deps.concurrency;
  }

  /**
   * Brings a content into the store.
   * @throws {DownloadError} `untrusted` when it comes wrong again and again; others when it does not come.
   */
  async fetch(
    image: Image,
    locator: ContentLocator,
    row: ContentRow,
    scope: AuthScope,
    signal: AbortSignal,
  ): Promise<void> {
    const { store, log } = this.#deps;
    const backoff = new Backoff(this.#deps.backoff);
    const digest = locator.digestOf(row);
    for (let wrong = 0; wrong < WRONG_ATTEMPTS; ) {
      signal.throwIfAborted();
      if (store.has(digest)) return;
      try {
        if (await this.#slots.run(() => this.#fetchOnce(image, locator, row, scope, signal), signal)) return;
        wrong += 1;
        log.error({ digest, image: image.manifestDigest, wrong }, 'a content came wrong and was refused');
      } catch (error) {
        signal.throwIfAborted();
        if (!isTransient(error)) throw error;
        log.warn({ err: error, digest }, 'a content could not be fetched, trying again');
        await backoff.pause(error, signal);
      }
    }
    throw new DownloadError('untrusted', `content ${digest} comes wrong from the registry as well: refused`);
  }

  /** @returns false when what came was something else. */
  async #fetchOnce(
    image: Image,
    locator: ContentLocator,
    row: ContentRow,
    scope: AuthScope,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { proxy, store } = this.#deps;
    const digest = locator.digestOf(row);
    const place = locator.placeOf(row);
    const layer = image.layers[place.layer];
    if (layer === undefined) throw new RangeError(`no layer ${place.layer}`);
    const items = [{ digest, sizeBytes: place.sizeBytes, innerOffset: place.innerOffset }];
    const length = place.payloadLength;
    const { body, cancel } = await proxy.blobRange(layer.digest, place.payloadOffset, length, scope, signal);
    const source = new ByteSource(asTransfer(body, signal));
    try {
      const small = Math.max(length, place.innerOffset + place.sizeBytes) <= IN_MEMORY_LIMIT_BYTES;
      const refused = small
        ? await storePayload('gzip-member', await source.read(length), items, store, signal)
        : await storePayloadStream('gzip-member', source.take(length), items, store, signal);
      return refused.length === 0;
    } finally {
      cancel();
    }
  }
}

/** What the wire throws becomes a {@link DownloadError} that may be tried again. */
async function* asTransfer(body: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    signal.throwIfAborted();
    throw new DownloadError('unreachable', 'the transfer was cut', { cause });
  }
}
