import { whenAborted } from '../../schemas/concurrency/when-aborted.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import { type Authorised, type AuthorisedImage, authorise, type Caller, checkPlatform } from './authorise.ts';
import type { BundleCache } from './bundle-cache.ts';
import { type BundlePlan, bundleBytes, decodePlan, encodePlan, etagOf, keyOf } from './bundle-plan.ts';
import type { Directory } from './directory.ts';
import type { ImageStore, LoadedImage } from './image-store.ts';
import type { Ingester } from './ingest.ts';
import { dictionaryFor, type HeldImageContents, makeBundle, PLAN_VERSION } from './make-bundle.ts';
import { type ReadRange, streamPayloads } from './payload-stream.ts';
import type { DeltaQuestion } from './question.ts';
import { ranksOf } from './ranks-of.ts';
import type { IngestRepository } from './resolve.ts';
import { SingleFlight } from '../../schemas/concurrency/single-flight.ts';
import { StarlightError } from './starlight-error.ts';

/** How long a question waits for an image to be ingested that nobody has notified the proxy of. */
const INGEST_WAIT_MS = 60_000;
const RETRY_AFTER_S = '5';

/** A bundle that is ready to be sent. Nothing of its payloads has been fetched. */
export interface DeltaAnswer {
  readonly etag: string;
  readonly sizeBytes: number;
  readonly unknownFrom: readonly string[];
  /**
   * The bundle from byte `start` on; of payloads that come before, nothing is read. It ends with an error when
   * a payload cannot be had as planned: whoever passes it on must then cut the connection.
   */
  bytesFrom(start: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined>;
}

export interface DeltaServiceOptions {
  readonly directory: Directory;
  readonly images: ImageStore;
  readonly ingester: Ingester;
  readonly cache: BundleCache;
  /** Told of what fails beside the answer and does not matter to it. */
  readonly onError: (error: unknown) => void;
}

/** Answers "I have these images, I want those". */
export class DeltaService {
  readonly #options: DeltaServiceOptions;
  readonly #plans = new SingleFlight<BundlePlan>();

  constructor(options: DeltaServiceOptions) {
    this.#options = options;
  }

  /**
   * The rights of the caller are settled before anything is told of any image. An image that is converted and
   * not yet in the directory is ingested first.
   * @param wantedEtag of a bundle that the caller has a part of: if that one is still at hand and answers the
   * same question, it is given, even if traces have since changed the order.
   * @throws {StarlightError} {RegistryReadError} {DirectoryError}
   */
  async answer(
    question: DeltaQuestion,
    caller: Caller,
    wantedEtag: string | undefined,
    signal: AbortSignal,
  ): Promise<DeltaAnswer> {
    const { directory, cache } = this.#options;
    const authorised = await authorise(question, caller, directory, signal);
    const base = questionKey(authorised, question);
    const kept = wantedEtag === undefined ? undefined : await this.#byEtag(wantedEtag, base, signal);
    if (kept !== undefined) return answerOf(kept, caller);

    const wanted = await this.#wantedImages(authorised, question, caller, signal);
    const ranks = await Promise.all(
      wanted.map((image, row) => {
        const { repository } = authorised.to[row] as AuthorisedImage; // one image for each
        return ranksOf(image, repository, directory, this.#options.images, signal);
      }),
    );
    const key = keyOf([base, ranks.map(({ version }) => version)]);
    const plan = await this.#plans.run(
      key,
      async (shared) => {
        const make = async (filling: AbortSignal) => {
          const { from, dictionaries } = await this.#held(authorised, wanted, filling);
          const bundle = await makeBundle({
            authorised,
            wanted,
            ranks: ranks.map((one) => one.ranks),
            from,
            dictionaries,
          });
          return encodePlan({ ...bundle, question: base, unknownFrom: authorised.unknownFrom });
        };
        const made = decodePlan(await cache.fill(`plan:${key}`, make, shared));
        if (made === undefined) throw new Error('the cache gave back what is no plan');
        await cache.put(`etag:${etagOf(made)}`, Buffer.from(key), shared);
        return made;
      },
      signal,
    );
    if (wanted.length > 1) this.#noteGroup(wanted);
    return answerOf(plan, caller);
  }

  async #byEtag(etag: string, question: string, signal: AbortSignal): Promise<BundlePlan | undefined> {
    const { cache } = this.#options;
    const key = await cache.get(`etag:${etag}`, signal);
    if (key === undefined) return undefined;
    const bytes = await cache.get(`plan:${Buffer.from(key).toString()}`, signal);
    const plan = bytes === undefined ? undefined : decodePlan(bytes);
    // Anybody may name an ETag: the plan behind it goes out only as answer to what this caller may ask.
    return plan !== undefined && plan.question === question && etagOf(plan) === etag ? plan : undefined;
  }

  async #wantedImages(
    authorised: Authorised,
    question: DeltaQuestion,
    caller: Caller,
    signal: AbortSignal,
  ): Promise<readonly LoadedImage[]> {
    const { directory, images } = this.#options;
    return await Promise.all(
      authorised.to.map(async ({ manifest, repository, reference, index }) => {
        // That an image is known elsewhere opens nothing: this repository has to show that it holds it.
        const held = await directory.holds(repository, manifest.digest, signal);
        const image =
          (held ? await images.image(manifest.digest, signal) : undefined) ??
          (await this.#ingest({ ...repository, auth: caller.auth }, manifest.digest, signal));
        if (index === undefined) checkPlatform(question, image.record.platform, reference);
        return image;
      }),
    );
  }

  /** Waits for a while; the ingest itself goes on for the next who asks. */
  async #ingest(repository: IngestRepository, manifest: Digest, signal: AbortSignal): Promise<LoadedImage> {
    const { ingester, images, onError } = this.#options;
    const ingest = ingester.ingest(repository, manifest, new AbortController().signal);
    ingest.catch(onError);
    const limit = AbortSignal.timeout(INGEST_WAIT_MS);
    await Promise.race([ingest, whenAborted(AbortSignal.any([signal, limit]))]).catch((error: unknown) => {
      if (!limit.aborted || signal.aborted) throw error;
      const what = `image ${repository.name}@${manifest}, which is being ingested,`;
      throw new StarlightError({ kind: 'unavailable', what, retryAfter: RETRY_AFTER_S }, { cause: error });
    });
    const image = await images.image(manifest, signal);
    if (image === undefined) throw new Error(`image ${manifest} was ingested and is not in the directory`);
    return image;
  }

  /** One after the other, and of each only what is needed: there may be hundreds. */
  async #held({ from }: Authorised, wanted: readonly LoadedImage[], signal: AbortSignal) {
    const { images } = this.#options;
    const found: HeldImageContents[] = [];
    for (const { name, digest } of from) {
      const image = await images.image(digest, signal);
      if (image === undefined) continue;
      const { record, held, tocBytes } = image;
      found.push({
        name,
        manifestDigest: digest,
        tocDigest: record.tocDigest,
        tocSizeBytes: tocBytes.length,
        diffIds: record.layers.map(({ diffId }) => diffId),
        contents: held,
      });
    }
    const dictionaries = new Map<Digest, Uint8Array>();
    for (const one of wanted) {
      const chosen = dictionaryFor(one, found);
      if (chosen === undefined || dictionaries.has(chosen.tocDigest)) continue;
      const image = await images.image(chosen.manifestDigest, signal);
      if (image !== undefined) dictionaries.set(chosen.tocDigest, image.tocBytes);
    }
    return { from: found, dictionaries };
  }

  #noteGroup(wanted: readonly LoadedImage[]): void {
    const { directory, onError } = this.#options;
    const manifests = wanted.map((image) => image.record.manifest.digest);
    directory.noteGroup(manifests, new AbortController().signal).catch(onError);
  }
}

/** All that a bundle depends on but the ranks. The caller's rights are not part of it: they were asked for. */
function questionKey(authorised: Authorised, question: DeltaQuestion): string {
  const to = authorised.to.map((image) => [
    image.repository.registry,
    image.repository.name,
    image.reference,
    image.manifest.digest,
    image.index?.digest ?? null,
  ]);
  return keyOf([PLAN_VERSION, to, authorised.from, authorised.unknownFrom, question.platform]);
}

function answerOf(plan: BundlePlan, { repositoryOf, auth }: Caller): DeltaAnswer {
  const read: ReadRange = async (source, range, signal) => {
    const repository = repositoryOf(source.name);
    return await repository?.reader.blob(repository.name, source.digest, range, auth, signal);
  };
  return {
    etag: etagOf(plan),
    sizeBytes: bundleBytes(plan),
    unknownFrom: plan.unknownFrom,
    async *bytesFrom(start, signal) {
      const { header, payloads } = plan;
      if (start < header.length) yield header.subarray(start);
      yield* streamPayloads(payloads, Math.max(0, start - header.length), read, signal);
    },
  };
}
