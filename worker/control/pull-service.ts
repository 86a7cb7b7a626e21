import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { formatPlatform, hostPlatform, parsePlatform } from '../../schemas/oci/platform.ts';
import { InvalidReferenceError, parseReference, type Reference } from '../../schemas/oci/reference.ts';
import type { Platform } from '../../schemas/oci/types.ts';
import { type Credentials, parseUserPassword } from '../../schemas/registry-auth/credentials.ts';
import { isTransient } from '../download/download-error.ts';
import type { ActiveDownload, Downloads } from '../download/downloads.ts';
import type { Catalogue } from '../images/catalogue.ts';
import type { Collector } from '../images/collector.ts';
import type { ImageRecord } from '../images/image.ts';
import type { Registration } from '../images/registration.ts';
import { ControlError } from './control-error.ts';
import type { PullCounts, PullEvent, PullRequest } from './protocol.ts';

export type PullServiceDeps = {
  readonly downloads: Downloads;
  readonly catalogue: Catalogue;
  readonly collector: Collector;
  readonly collectSoon: () => void;
  readonly registration: Registration;
  readonly nowMs: () => number;
  readonly log: Logger;
};

const DEFAULT_NAMESPACE = 'default';
const PROGRESS_EVERY_MS = 200;

type Wish = {
  readonly text: string;
  readonly reference: Reference;
  readonly platform: Platform;
  readonly namespace: string;
};

/** One pull from request to the last event: metadata, containerd, contents. */
export class PullService {
  readonly #deps: PullServiceDeps;

  constructor(deps: PullServiceDeps) {
    this.#deps = deps;
  }

  /**
   * Pulls, telling each step. What has begun goes on when the caller goes away.
   * @throws {ControlError}, {@link DownloadError}, {@link StoreError}, {@link ContainerdError}
   */
  async pull(request: PullRequest, tell: (event: PullEvent) => void, signal: AbortSignal): Promise<void> {
    const { nowMs, collector, registration } = this.#deps;
    const startedMs = nowMs();
    const wish = wishOf(request);
    const active = this.#complete(wish) ?? (await this.#start(wish, request, tell));
    const { image } = active;
    const { manifestDigest } = image;
    const unpin = collector.pin([manifestDigest]);
    try {
      const unknownFrom = active.unknownFrom;
      tell({ event: 'header', manifestDigest, platform: image.platform, unknownFrom, ...active.counts() });
      await registration.register(image, wish.namespace, wish.reference, wish.text, signal);
      tell({ event: 'ready', manifestDigest, elapsedMs: nowMs() - startedMs, ...active.counts() });
      if (request.wait === false) {
        active.done.catch(() => undefined); // it is logged and kept by the downloads
        return;
      }
      await progress(active, tell, signal);
      tell({ event: 'complete', manifestDigest, elapsedMs: nowMs() - startedMs, ...active.counts() });
    } finally {
      unpin();
      // Removed from containerd meanwhile: the collection that came with that had to spare it.
      if (collector.isUnneeded(manifestDigest)) this.#deps.collectSoon();
    }
  }

  /** Finishes what an earlier daemon began to tell containerd. */
  async resumeRegistrations(signal: AbortSignal): Promise<void> {
    const { catalogue, registration, log } = this.#deps;
    for (const image of catalogue.list()) {
      for (const name of catalogue.namesOf(image.manifestDigest)) {
        if (name.registered) continue;
        try {
          const reference = parseReference(name.reference);
          await registration.register(image, name.namespace, reference, name.reference, signal);
          log.info(
            { reference: name.reference, namespace: name.namespace },
            'told containerd of a pulled image',
          );
        } catch (error) {
          if (signal.aborted) return;
          log.warn({ err: error, reference: name.reference }, 'containerd cannot be told of a pulled image');
        }
      }
    }
  }

  /** An image asked for by digest of which everything is here needs no network. */
  #complete(wish: Wish): ActiveDownload | undefined {
    const { digest } = wish.reference;
    if (digest === undefined) return undefined;
    const platform = formatPlatform(wish.platform);
    const found = this.#deps.catalogue
      .list()
      .find(
        (image) =>
          image.platform === platform && (image.manifestDigest === digest || image.indexDigest === digest),
      );
    return found?.state === 'complete' ? atRest(found) : undefined;
  }

  async #start(wish: Wish, request: PullRequest, tell: (event: PullEvent) => void): Promise<ActiveDownload> {
    const { downloads, catalogue } = this.#deps;
    const { host, name, tag, digest } = wish.reference;
    const from = (request.from ?? []).flatMap((text) => this.#from(text, wish, tell));
    const credentials = credentialsOf(request);
    try {
      return await downloads.start({
        host,
        repository: name,
        tag,
        digest,
        platform: wish.platform,
        from,
        ...(credentials === undefined ? {} : { credentials }),
      });
    } catch (error) {
      const known = catalogue.findByName(wish.text, formatPlatform(wish.platform));
      if (!isTransient(error) || known?.state !== 'complete') throw error;
      const reason = error instanceof Error ? error.message : String(error);
      tell({ event: 'warning', message: `${reason}; taking ${known.manifestDigest}, pulled before` });
      return atRest(known);
    }
  }

  /** `name@digest` as it is; any other reference must be of an image here. */
  #from(text: string, wish: Wish, tell: (event: PullEvent) => void): string[] {
    const reference = parseReference(text);
    if (reference.digest !== undefined) return [`${reference.name}@${reference.digest}`];
    const known = this.#deps.catalogue.findByName(text, formatPlatform(wish.platform));
    if (known !== undefined) return [`${known.repository}@${known.manifestDigest}`];
    tell({ event: 'warning', message: `${text} was not pulled here: nothing is taken from it` });
    return [];
  }
}

function wishOf(request: PullRequest): Wish {
  const text = request.reference;
  const reference = parseReference(text);
  if (reference.host === '') throw new InvalidReferenceError(text, 'name the host of its registry as well');
  if (reference.tag === undefined && reference.digest === undefined) {
    throw new InvalidReferenceError(text, 'name a tag or a digest as well');
  }
  try {
    const platform = request.platform === undefined ? hostPlatform() : parsePlatform(request.platform);
    return { text, reference, platform, namespace: request.namespace ?? DEFAULT_NAMESPACE };
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new ControlError(400, 'invalid-request', cause.message, { cause });
  }
}

function credentialsOf(request: PullRequest): Credentials | undefined {
  if (request.credentials === undefined) return undefined;
  const credentials = parseUserPassword(request.credentials);
  if (credentials === undefined) {
    throw new ControlError(400, 'invalid-request', 'credentials: not user:password');
  }
  return credentials;
}

/** An image of which everything is here, in the shape of a download that is over. */
function atRest(image: ImageRecord): ActiveDownload {
  return { image, unknownFrom: [], counts: () => countsAtRest(image), done: Promise.resolve() };
}

export function countsAtRest(image: ImageRecord): PullCounts {
  const arrived = image.state === 'complete';
  return {
    contentsArrived: arrived ? image.contentsTotal : 0,
    contentsTotal: image.contentsTotal,
    bytesArrived: arrived ? image.bytesTotal : 0,
    bytesTotal: image.bytesTotal,
    wireBytes: 0,
    wireBytesTotal: 0,
  };
}

/** Tells of the progress until the download is over. @throws what ended it, or the signal's reason. */
async function progress(
  active: ActiveDownload,
  tell: (event: PullEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const ticking = new AbortController();
    const both = AbortSignal.any([signal, ticking.signal]);
    const tick = delay(PROGRESS_EVERY_MS, 'tick' as const, { signal: both });
    try {
      const outcome = await Promise.race([active.done.then(() => 'done' as const), tick]);
      if (outcome === 'done') return;
      tell({ event: 'progress', ...active.counts() });
    } catch (error) {
      signal.throwIfAborted(); // with its reason: the timer's own says only that it was aborted
      throw error;
    } finally {
      ticking.abort();
      await tick.catch(() => undefined); // aborted just now, or the reason is thrown already
    }
  }
}
