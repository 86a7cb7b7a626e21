import { Readable } from 'node:stream';
import { SingleFlight } from '../../schemas/concurrency/single-flight.ts';
import { readWhole } from '../../schemas/body/read-body.ts';
import { retryAfterMs } from '../../schemas/image/registry-client.ts';
import { fallbackTag } from '../../schemas/image/referrers-index.ts';
import { digestAlgorithm, digestOf, isDigest } from '../../schemas/oci/digest.ts';
import type { MirrorConfig } from '../config.ts';
import type { Registry, RegistryAnswer, RegistryRequest } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { headerValue } from '../upstream/headers.ts';
import type { BlobStore, StoredBlob, StoreLog } from './blob-store.ts';
import type { MirrorCounters } from './counters.ts';
import type { Fill, FillSource } from './fill.ts';
import { FillStream } from './fill-stream.ts';
import type { Fills } from './fills.ts';
import { type KeptAnswer, keptAnswer } from './kept-answer.ts';
import { MirrorError } from './mirror-error.ts';
import { type Proof, Proofs } from './proofs.ts';
import { ofDigest, type Question, questionOf, resourceOf, upstreamRequest } from './question.ts';
import { isUnavailable, proofOf, rangeBody, unavailableAnswer } from './upstream-answer.ts';

/** Manifests up to this are kept; a larger one is passed through. */
const MAX_MANIFEST_BYTES = 4 << 20;

export interface MirrorRegistryOptions {
  /** One upstream, as it answers each caller for itself. */
  readonly registry: Registry;
  readonly config: Pick<MirrorConfig, 'grantMs' | 'tagMs' | 'staleMs'>;
  readonly store: BlobStore;
  readonly fills: Fills;
  /** What callers are told apart with: random, of this process. */
  readonly key: Uint8Array;
  readonly counters: MirrorCounters;
  readonly log: StoreLog;
  readonly nowMs: () => number;
}

/** What asking the upstream gave, the same for all who asked that at once. */
type Outcome =
  | { readonly kind: 'proven'; readonly proof: Proof; readonly manifest?: Uint8Array }
  /** It has no stream in it. */
  | { readonly kind: 'answered'; readonly answer: RegistryAnswer; readonly method: 'GET' | 'HEAD' }
  /** Something that cannot be kept: each asks for itself. */
  | { readonly kind: 'unusable' };

/**
 * Keeps what an upstream gives out, and gives it only to those to whom the upstream would. Each caller's right to
 * each thing is proven by the upstream's own answer to that caller's own credentials; the proof holds for a short
 * time. What is not kept is fetched once for all who want it, with the credentials of the first.
 */
export class MirrorRegistry implements Registry {
  readonly #options: MirrorRegistryOptions;
  readonly #proofs = new Proofs();
  readonly #asked = new SingleFlight<Outcome>();
  readonly #manifests = new SingleFlight<Outcome>();
  /** Blobs whose first request has gone out and whose size is not known yet. */
  readonly #openings = new Map<string, Promise<void>>();
  /** Raised by each write: what was asked before proves nothing afterwards. */
  #generation = 0;

  constructor(options: MirrorRegistryOptions) {
    this.#options = options;
  }

  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    const question = questionOf(request, this.#options.key);
    if (question !== undefined) return await this.#read(request, question);
    if (request.method !== 'PUT' && request.method !== 'DELETE') return await this.#pass(request);
    try {
      const answer = await this.#pass(request);
      if (answer.status < 400) this.#written(request, headerValue(answer.headers, 'oci-subject'));
      return answer;
    } catch (error) {
      this.#written(request); // it may have been done nevertheless
      throw error;
    }
  }

  #pass(request: RegistryRequest): Promise<RegistryAnswer> {
    return this.#options.registry.answer(request);
  }

  /** The caller's own request, although there is a cache for it. */
  #passUnkept(request: RegistryRequest): Promise<RegistryAnswer> {
    this.#options.counters.passed += 1;
    return this.#pass(request);
  }

  async #read(request: RegistryRequest, question: Question): Promise<RegistryAnswer> {
    const { config, nowMs } = this.#options;
    const known = this.#proofs.get(question);
    const freshMs = question.digest === undefined ? config.tagMs : config.grantMs;
    if (known !== undefined && nowMs() - known.atMs < freshMs) {
      return await this.#serve(request, question, known);
    }
    let opened: RegistryAnswer | undefined;
    let outcome: Outcome;
    try {
      outcome = await this.#ask(request, question, known, (answer) => {
        opened = answer;
      });
    } catch (error) {
      discard(opened);
      if (!(error instanceof RegistryError)) throw error;
      const stale = await this.#stale(request, question, known);
      if (stale === undefined) throw error;
      return stale;
    }
    // Only whoever sent the request has its stream.
    if (opened !== undefined) return opened;
    switch (outcome.kind) {
      case 'proven':
        return await this.#serve(request, question, outcome.proof, outcome.manifest);
      case 'unusable':
        return await this.#passUnkept(request);
      case 'answered':
        return await this.#answered(request, question, known, outcome);
      default:
        return outcome satisfies never;
    }
  }

  async #answered(
    request: RegistryRequest,
    question: Question,
    known: Proof | undefined,
    { answer, method }: Extract<Outcome, { kind: 'answered' }>,
  ): Promise<RegistryAnswer> {
    const unavailable = isUnavailable(answer.status);
    const stale = unavailable ? await this.#stale(request, question, known) : undefined;
    if (stale !== undefined) return stale;
    if (!unavailable) this.#proofs.forget(question);
    if (request.method === 'HEAD') return { status: answer.status, headers: answer.headers };
    if (method === 'GET') return answer;
    // HEAD brought no body for a refusal; the upstream has one for whoever asks by GET.
    if (!unavailable) return await this.#pass(request);
    return unavailableAnswer(answer.status, headerValue(answer.headers, 'retry-after'));
  }

  /**
   * Asks the upstream, once for all that ask the same as the same caller meanwhile: by HEAD, or by GET where what
   * is asked for will be fetched anyway.
   *
   * @param keep takes the answer whose body only this caller can have
   */
  async #ask(
    request: RegistryRequest,
    question: Question,
    known: Proof | undefined,
    keep: (answer: RegistryAnswer) => void,
  ): Promise<Outcome> {
    const generation = this.#generation;
    const key = `${generation}\n${question.resource}\n${question.asker}`;
    const work = async (signal: AbortSignal): Promise<Outcome> => {
      const outcome = this.#fetches(request, question, known)
        ? await this.#askByGet(request, question, signal, keep)
        : await this.#askByHead(request, question, signal);
      if (outcome.kind === 'proven' && generation === this.#generation) {
        this.#proofs.set(question, outcome.proof);
        this.#proofs.set(ofDigest(question, outcome.proof.digest), outcome.proof);
      }
      return outcome;
    };
    return await this.#asked.run(key, work, request.signal);
  }

  #fetches(request: RegistryRequest, question: Question, known: Proof | undefined): boolean {
    const { store, fills } = this.#options;
    if (request.method !== 'GET') return false;
    const digest = question.digest ?? known?.digest;
    if (digest === undefined) return !this.#openings.has(question.resource);
    if (store.has(digest) || this.#openings.has(question.resource)) return false;
    return (
      question.kind === 'manifest' || (request.headers.range === undefined && !fills.has(question.resource))
    );
  }

  async #askByHead(request: RegistryRequest, question: Question, signal: AbortSignal): Promise<Outcome> {
    const { counters, nowMs } = this.#options;
    counters.proofRequests += 1;
    const answer = await this.#pass(upstreamRequest(request, question, 'HEAD', undefined, signal));
    return outcomeOf(answer, 'HEAD', proofOf(answer, question, nowMs()));
  }

  async #askByGet(
    request: RegistryRequest,
    question: Question,
    signal: AbortSignal,
    keep: (answer: RegistryAnswer) => void,
  ): Promise<Outcome> {
    const { counters, nowMs } = this.#options;
    // The body may outlive those who wait for the header.
    const controller = new AbortController();
    const stop = () => controller.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const opening = Promise.withResolvers<void>();
    this.#openings.set(question.resource, opening.promise);
    try {
      counters.contentRequests += 1;
      const sent = upstreamRequest(request, question, 'GET', undefined, controller.signal);
      const answer = await this.#pass(sent);
      const { body } = answer;
      if (!(body instanceof Readable)) return outcomeOf(answer, 'GET', undefined);
      signal.throwIfAborted();
      const proof = proofOf(answer, question, nowMs());
      if (proof !== undefined && question.kind === 'manifest' && proof.sizeBytes <= MAX_MANIFEST_BYTES) {
        return await this.#keepManifest(proof, body);
      }
      if (proof !== undefined && question.kind === 'blob') {
        const fill = this.#openFill(question, proof);
        if (fill?.feed(body, controller, this.#source(request, question, proof)) === true) {
          // Nobody has joined yet; if nobody does soon, it is as if all had left.
          fill.join()();
          return { kind: 'proven', proof };
        }
      }
      counters.passed += 1;
      if (request.signal.aborted) discard(answer);
      else keep(answer);
      return { kind: 'unusable' };
    } finally {
      signal.removeEventListener('abort', stop);
      this.#openings.delete(question.resource);
      opening.resolve();
    }
  }

  /** @throws {RegistryError} 'upstream-protocol' where the bytes are not those of the digest */
  async #keepManifest(proof: Proof, body: Readable): Promise<Outcome> {
    const { counters, log, store } = this.#options;
    let bytes: Uint8Array;
    try {
      bytes = await readWhole(body, MAX_MANIFEST_BYTES, () => new Error('longer than announced'));
    } catch (cause) {
      throw new RegistryError({ kind: 'upstream-unreachable' }, { cause });
    }
    counters.contentBytes += bytes.byteLength;
    if (digestOf(bytes, digestAlgorithm(proof.digest)) !== proof.digest) {
      counters.wrongDigests += 1;
      log.warn({ digest: proof.digest }, 'the upstream sent a manifest of another digest');
      throw new RegistryError({ kind: 'upstream-protocol', reason: 'a manifest of another digest' });
    }
    await store.put(proof.digest, bytes);
    return { kind: 'proven', proof, manifest: bytes };
  }

  async #stale(
    request: RegistryRequest,
    question: Question,
    known: Proof | undefined,
  ): Promise<RegistryAnswer | undefined> {
    const { config, counters, log, nowMs } = this.#options;
    if (known === undefined || nowMs() - known.atMs >= config.staleMs) return undefined;
    const kept = keptAnswer(request, known, true);
    const content = kept.kind === 'done' ? undefined : await this.#stored(known);
    if (kept.kind !== 'done' && content === undefined) return undefined;
    const answer = answerOf(kept, content, () => this.#stored(known));
    counters.stale += 1;
    const { name, reference } = question;
    log.warn({ repository: name, reference, digest: known.digest }, 'served as last known');
    return answer;
  }

  async #serve(
    request: RegistryRequest,
    question: Question,
    proof: Proof,
    manifest?: Uint8Array,
  ): Promise<RegistryAnswer> {
    const { counters } = this.#options;
    const kept = keptAnswer(request, proof, false);
    if (kept.kind === 'done') return kept.answer;
    if (kept.kind === 'bytes' && manifest !== undefined) {
      counters.fills += 1;
      return kept.with(manifest);
    }
    await this.#openings.get(question.resource);
    const stored = await this.#stored(proof);
    if (stored !== undefined) {
      counters.hits += 1;
      return answerOf(kept, stored, () => this.#stored(proof));
    }
    if (question.kind === 'manifest') return await this.#fetchManifest(request, question, proof, kept);
    const filling = this.#filling(request, question, proof);
    if (filling === undefined) return await this.#passUnkept(request);
    const body = filling(kept.start, kept.kind === 'bytes' ? kept.end : kept.start + 1);
    try {
      await body.primed(request.signal);
    } catch (error) {
      body.destroy();
      if (!(error instanceof MirrorError)) throw error;
      // A refusal is passed on in the upstream's own words.
      if (error.fault.kind === 'not-kept' || error.fault.kind === 'refused') return this.#passUnkept(request);
      throw registryError(error);
    }
    counters.fills += 1;
    if (kept.kind === 'bytes') return kept.with(body);
    body.destroy(); // it only showed that the first part can be had
    return kept.with(async (start, end) => filling(start, end));
  }

  /** From the disk; undefined where it is not there. */
  async #stored({ digest, sizeBytes }: Proof): Promise<StoredBlob | undefined> {
    const blob = await this.#options.store.take(digest);
    if (blob === undefined || blob.sizeBytes === sizeBytes) return blob;
    await blob.close();
    return undefined; // the upstream told another size: it has to show
  }

  /** Gives streams of what is on its way; undefined where it cannot be kept. */
  #filling(
    request: RegistryRequest,
    question: Question,
    proof: Proof,
  ): ((start: number, end: number) => FillStream) | undefined {
    const source = this.#source(request, question, proof);
    if (this.#openFill(question, proof) === undefined) return undefined;
    return (start, end) => {
      const fill = this.#openFill(question, proof);
      // Between two parts it may have ended.
      if (fill === undefined) throw new MirrorError({ kind: 'not-kept' });
      return new FillStream(fill, start, end, source);
    };
  }

  #openFill({ name, resource }: Question, { digest, sizeBytes }: Proof): Fill | undefined {
    const { counters, fills, log } = this.#options;
    return fills.open(resource, digest, sizeBytes, (actual) => {
      counters.wrongDigests += 1;
      log.warn({ repository: name, digest, actual }, 'the upstream sent a blob of another digest');
      this.#proofs.forgetResource(resource);
    });
  }

  #source(request: RegistryRequest, question: Question, { sizeBytes }: Proof): FillSource {
    return async (start, end, signal) => {
      this.#options.counters.contentRequests += 1;
      const range = start === 0 && end === sizeBytes ? undefined : `bytes=${start}-${end - 1}`;
      const answer = await this.#pass(upstreamRequest(request, question, 'GET', range, signal));
      return rangeBody(answer, start, end, sizeBytes);
    };
  }

  async #fetchManifest(
    request: RegistryRequest,
    question: Question,
    proof: Proof,
    kept: Exclude<KeptAnswer, { kind: 'done' }>,
  ): Promise<RegistryAnswer> {
    if (proof.sizeBytes > MAX_MANIFEST_BYTES) return await this.#passUnkept(request);
    const wanted = ofDigest(question, proof.digest);
    const work = async (signal: AbortSignal): Promise<Outcome> => {
      this.#options.counters.contentRequests += 1;
      const answer = await this.#pass(upstreamRequest(request, wanted, 'GET', undefined, signal));
      const sent = proofOf(answer, wanted, proof.atMs);
      if (answer.body instanceof Readable && sent?.sizeBytes === proof.sizeBytes) {
        return await this.#keepManifest(sent, answer.body);
      }
      discard(answer);
      return { kind: 'unusable' };
    };
    const outcome = await this.#manifests.run(wanted.resource, work, request.signal);
    this.#options.counters.fills += 1;
    // What did not do for another's credentials may do for this caller's.
    return kept.kind === 'bytes' && outcome.kind === 'proven' && outcome.manifest !== undefined
      ? kept.with(outcome.manifest)
      : await this.#passUnkept(request);
  }

  #written({ endpoint, method, query }: RegistryRequest, subject?: string): void {
    if (endpoint.kind === 'blob' && method === 'DELETE') {
      this.#generation += 1;
      this.#proofs.forgetResource(resourceOf('blob', endpoint.name, endpoint.digest));
    }
    if (endpoint.kind !== 'manifest') return;
    const { name, reference } = endpoint;
    this.#generation += 1;
    // With a manifest its tags go, whatever they are called.
    if (method === 'DELETE' && isDigest(reference)) this.#proofs.forgetManifests(name);
    // Where the upstream has no referrers API, the tag that lists them has been pushed along behind us.
    const list = isDigest(subject) ? [fallbackTag(subject)] : [];
    for (const touched of [reference, ...query.getAll('tag'), ...list]) {
      this.#proofs.forgetResource(resourceOf('manifest', name, touched));
    }
  }
}

function outcomeOf(answer: RegistryAnswer, method: 'GET' | 'HEAD', proof: Proof | undefined): Outcome {
  if (proof !== undefined) return { kind: 'proven', proof };
  const { status } = answer;
  const isAnswer = status === 401 || status === 403 || status === 404 || isUnavailable(status);
  return isAnswer ? { kind: 'answered', answer, method } : { kind: 'unusable' };
}

/** The answer that takes its bytes from a kept content; further parts of it are taken by `again`. */
function answerOf(
  kept: KeptAnswer,
  content: StoredBlob | undefined,
  again: () => Promise<StoredBlob | undefined>,
): RegistryAnswer {
  if (kept.kind === 'done') return kept.answer;
  if (content === undefined) throw new TypeError('bytes of nothing');
  if (kept.kind === 'bytes') return kept.with(content.stream(kept.start, kept.end));
  let first: StoredBlob | undefined = content;
  const answer = kept.with(async (start, end) => {
    const blob = first ?? (await again());
    first = undefined;
    if (blob === undefined) throw new MirrorError({ kind: 'not-kept' });
    return blob.stream(start, end);
  });
  // Destroyed before it was read, it has opened none of its parts.
  if (answer.body instanceof Readable)
    answer.body.once('close', () => void first?.close().catch(() => undefined));
  return answer;
}

function registryError(error: MirrorError): RegistryError {
  const { fault } = error;
  switch (fault.kind) {
    case 'unavailable': {
      const retryAfterSeconds = Math.max(
        1,
        Math.ceil((retryAfterMs(fault.retryAfter, Date.now()) ?? 0) / 1000),
      );
      const status = fault.status === 429 ? 429 : 503;
      return new RegistryError({ kind: 'upstream-withheld', status, retryAfterSeconds }, { cause: error });
    }
    case 'wrong-digest':
      return new RegistryError(
        { kind: 'upstream-protocol', reason: 'bytes of another digest' },
        { cause: error },
      );
    case 'protocol':
      return new RegistryError({ kind: 'upstream-protocol', reason: fault.reason }, { cause: error });
    case 'not-kept':
    case 'refused':
      return new RegistryError({ kind: 'upstream-unreachable' }, { cause: error });
    default:
      return fault satisfies never;
  }
}

function discard(answer: RegistryAnswer | undefined): void {
  if (answer?.body instanceof Readable) answer.body.destroy();
}
