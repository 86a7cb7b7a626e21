import type { Digest } from '../../schemas/oci/digest.ts';
import type { Platform } from '../../schemas/oci/types.ts';
import type { Directory, ImageRecord, LayerRecord, RankRow, RawDocument } from './directory.ts';
import type { ImageStore } from './image-store.ts';
import { LayerScanner } from './layer-scanner.ts';
import { inheritRanks } from './optimizer/inherit-ranks.ts';
import { readImage } from './read-image.ts';
import {
  type CallerRepository,
  type IngestRepository,
  imageEntries,
  manifestOf,
  resolveRoot,
} from './resolve.ts';
import { SingleFlight } from '../../schemas/concurrency/single-flight.ts';
import { StarlightError } from './starlight-error.ts';

/** Images of one index that are ingested; more is no image anybody publishes. */
const MAX_PLATFORMS = 256;
/** How long one ingest may take in all. */
const INGEST_LIMIT_MS = 30 * 60_000;

export interface IngestedImage {
  readonly platform: string;
  readonly manifestDigest: Digest;
  readonly tocDigest?: Digest;
  readonly status: 'ingested' | 'already' | 'not-converted';
  readonly reason?: string;
}

export interface IngestResult {
  readonly images: readonly IngestedImage[];
}

export interface IngesterOptions {
  readonly directory: Directory;
  readonly images: ImageStore;
  /** Told of the outcome of every ingest that was begun. */
  readonly onEnd?: (event: IngestEvent) => void;
  /** Told what kept an ingest from finding out what an image opens first; it goes on without. */
  readonly onStartUnknown?: (error: unknown) => void;
}

export interface IngestEvent {
  readonly name: string;
  readonly reference: string;
  readonly durationMs: number;
  readonly result?: IngestResult;
  readonly error?: unknown;
}

interface Entry {
  readonly document: RawDocument;
  readonly platform: Platform | undefined;
}

/**
 * Takes images from a registry into the directory: all images under a reference in one transaction, those that
 * are not converted left out. The same at once is done once; what is known already is not read again.
 */
export class Ingester {
  readonly #directory: Directory;
  readonly #images: ImageStore;
  readonly #scanner: LayerScanner;
  readonly #onEnd: (event: IngestEvent) => void;
  readonly #onStartUnknown: (error: unknown) => void;
  readonly #flights = new SingleFlight<IngestResult>();
  readonly #closed = new AbortController();

  constructor({ directory, images, onEnd, onStartUnknown }: IngesterOptions) {
    this.#directory = directory;
    this.#images = images;
    this.#scanner = new LayerScanner(directory);
    this.#onEnd = onEnd ?? (() => undefined);
    this.#onStartUnknown = onStartUnknown ?? (() => undefined);
  }

  /**
   * Ingests what `reference` (a tag or digest) names, with the caller's rights.
   * @throws {StarlightError} `not-converted` when no image under it is, `image-refused` when one is not what
   * it says; then nothing of the whole reference has been taken in.
   */
  async ingest(repository: IngestRepository, reference: string, signal: AbortSignal): Promise<IngestResult> {
    const root = await resolveRoot(repository, reference, signal);
    const document = root.kind === 'index' ? root.document : root.manifest;
    // By caller too: the layers are read with the rights of whoever came first.
    const { registry, name, auth } = repository;
    const key = JSON.stringify([registry, name, reference, document.digest, auth ?? null]);
    return await this.#flights.run(
      key,
      async (shared) => {
        const limit = AbortSignal.timeout(INGEST_LIMIT_MS);
        const together = AbortSignal.any([shared, this.#closed.signal, limit]);
        const beganMs = performance.now();
        const told = { name, reference };
        try {
          const entries =
            root.kind === 'manifest'
              ? [{ document: root.manifest, platform: undefined }]
              : await this.#entriesOf(repository, root, together);
          const index = root.kind === 'index' ? { index: root.document } : {};
          const result = await this.#ingestAll(repository, reference, entries, index, together);
          this.#onEnd({ ...told, durationMs: performance.now() - beganMs, result });
          return result;
        } catch (error) {
          this.#onEnd({ ...told, durationMs: performance.now() - beganMs, error });
          throw error;
        }
      },
      signal,
    );
  }

  /** Ends all ingests under way. */
  close(): void {
    this.#closed.abort(new StarlightError({ kind: 'unavailable', what: 'the proxy, which is ending,' }));
  }

  async #entriesOf(
    repository: CallerRepository,
    root: Extract<Awaited<ReturnType<typeof resolveRoot>>, { kind: 'index' }>,
    signal: AbortSignal,
  ): Promise<Entry[]> {
    const found: Entry[] = [];
    for (const entry of imageEntries(root.index).slice(0, MAX_PLATFORMS)) {
      // An index may name what was never pushed: sparse ones are common.
      const document = await manifestOf(repository, entry.digest, signal).catch((error: unknown) => {
        if (error instanceof StarlightError && error.fault.kind === 'manifest-unknown') return undefined;
        throw error;
      });
      if (document !== undefined) found.push({ document, platform: entry.platform });
    }
    return found;
  }

  async #ingestAll(
    repository: IngestRepository,
    reference: string,
    entries: readonly Entry[],
    index: { index?: RawDocument },
    signal: AbortSignal,
  ): Promise<IngestResult> {
    const reads = [];
    const scanned = new Map<Digest, LayerRecord>();
    for (const entry of entries) reads.push(await this.#read(repository, entry, scanned, signal));
    const images = reads.flatMap((read) => (read.kind === 'image' ? [read] : []));
    const known = reads.flatMap((read) => (read.kind === 'known' ? [read.summary] : []));
    if (images.length + known.length === 0) {
      const reasons = new Set(reads.flatMap((read) => (read.kind === 'not-converted' ? [read.reason] : [])));
      const reason = [...reasons].join('; ') || 'it names no image';
      throw new StarlightError({
        kind: 'not-converted',
        reference: `${repository.name}:${reference}`,
        reason,
      });
    }
    const key = { registry: repository.registry, name: repository.name };
    const tag = reference.includes(':') ? {} : { tag: reference };
    const inherited = new Map<Digest, readonly RankRow[]>();
    for (const { image } of images) {
      inherited.set(image.manifest.digest, await this.#inherit(key, tag, image, signal));
    }
    const fresh = await this.#directory.record(
      {
        repository: key,
        ...tag,
        ...index,
        layers: images.flatMap(({ layers }) => layers),
        images: images.map(({ image }) => ({ image, inherited: inherited.get(image.manifest.digest) ?? [] })),
        known,
      },
      signal,
    );
    return {
      images: reads.map((read, row): IngestedImage => {
        const manifestDigest = entries[row]?.document.digest as Digest; // one read per entry, in order
        if (read.kind === 'not-converted') {
          const { platform, reason } = read;
          return { platform, manifestDigest, status: 'not-converted', reason };
        }
        if (read.kind === 'known') return { ...read.summary, status: 'already' };
        const { platform, tocDigest } = read.image;
        const status = fresh.includes(manifestDigest) ? 'ingested' : 'already';
        return { platform, manifestDigest, tocDigest, status };
      }),
    };
  }

  async #read(
    repository: IngestRepository,
    { document, platform }: Entry,
    scanned: Map<Digest, LayerRecord>,
    signal: AbortSignal,
  ) {
    const summary = await this.#directory.summary(repository.registry, document.digest, signal);
    if (summary !== undefined) {
      if (!(await this.#directory.holds(repository, document.digest, signal))) {
        await this.#scanner.prove(repository, document, signal);
      }
      return { kind: 'known', summary } as const;
    }
    const reading = { scanner: this.#scanner, scanned, onStartUnknown: this.#onStartUnknown };
    return await readImage(repository, document, platform, reading, signal);
  }

  /** The ranks of the version before, for the files that are still there. */
  async #inherit(
    repository: { readonly registry: string; readonly name: string },
    tag: { readonly tag?: string },
    image: ImageRecord,
    signal: AbortSignal,
  ): Promise<readonly RankRow[]> {
    const question = { repository, ...tag, platform: image.platform, except: image.manifest.digest };
    const before = await this.#directory.predecessor(question, signal);
    if (before === undefined) return [];
    const { ranks } = await this.#directory.ranks(before, signal);
    if (ranks.length === 0) return [];
    const old = await this.#images.image(before, signal);
    return inheritRanks(old?.tree, ranks, (await this.#images.open(image)).tree);
  }
}
