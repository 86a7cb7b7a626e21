import { Readable } from 'node:stream';
import { SingleFlight } from '../../extensions/starlight/single-flight.ts';
import { readWhole } from '../../schemas/body/read-body.ts';
import { digestAlgorithm, digestOf, isDigest } from '../../schemas/oci/digest.ts';
import type { MirrorConfig } from '../config.ts';
import type { Registry, RegistryAnswer, RegistryRequest } from '../registry/registry.ts';
import { RegistryError } from '../registry/registry-error.ts';
import { headerValue } from '../upstream/headers.ts';
import type { BlobStore, StoreLog } from './blob-store.ts';
import type { MirrorCounters } from './counters.ts';
import type { Fill, FillSource } from './fill.ts';
import { FillStream } from './fill-stream.ts';
import type { Fills } from './fills.ts';
import { keptAnswer } from './kept-answer.ts';
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
      if (answer.status < 400) this.#written(request);
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
    const answer = kept.kind === 'done' ? kept.answer : await this.#stored(kept, known);
    if (answer === undefined) return undefined;
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
    if (manifest !== undefined) {
      counters.fills += 1;
      return kept.with(manifest);
    }
    await this.#openings.get(question.resource);
    const stored = await this.#stored(kept, proof);
    if (stored !== undefined) {
      counters.hits += 1;
      return stored;
    }
    if (question.kind === 'manifest') return await this.#fetchManifest(request, question, proof, kept.with);
    return await this.#fill(request, question, proof, kept);
  }

  /** From the disk; undefined where it is not there. */
  async #stored(
    { start, end, with: answerWith }: { start: number; end: number; with(body: Readable): RegistryAnswer },
    { digest, sizeBytes }: Proof,
  ): Promise<RegistryAnswer | undefined> {
    const blob = await this.#options.store.take(digest);
    if (blob === undefined) return undefined;
    if (blob.sizeBytes === sizeBytes) return answerWith(blob.stream(start, end));
    await blob.close();
    return undefined; // the upstream told another size: it has to show
  }

  async #fill(
    request: RegistryRequest,
    question: Question,
    proof: Proof,
    { start, end, with: answerWith }: { start: number; end: number; with(body: Readable): RegistryAnswer },
  ): Promise<RegistryAnswer> {
    const { counters } = this.#options;
    const fill = this.#openFill(question, proof);
    if (fill === undefined) return await this.#passUnkept(request);
    const stream = new FillStream(fill, start, end, this.#source(request, question, proof));
    try {
      await stream.primed(request.signal);
    } catch (error) {
      stream.destroy();
      if (!(error instanceof MirrorError)) throw error;
      switch (error.fault.kind) {
        case 'not-kept':
        case 'refused': // the upstream's own words
          return await this.#passUnkept(request);
        case 'unavailable':
          return unavailableAnswer(error.fault.status, error.fault.retryAfter);
        case 'wrong-digest':
          throw new RegistryError({ kind: 'upstream-protocol', reason: 'bytes of another digest' });
        case 'protocol':
          throw new RegistryError({ kind: 'upstream-protocol', reason: error.fault.reason });
        default:
          return error.fault satisfies never;
      }
    }
    counters.fills += 1;
    return answerWith(stream);
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
    answerWith: (body: Uint8Array) => RegistryAnswer,
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
    return outcome.kind === 'proven' && outcome.manifest !== undefined
      ? answerWith(outcome.manifest)
      : await this.#passUnkept(request);
  }

  #written({ endpoint, method, query }: RegistryRequest): void {
    if (endpoint.kind === 'blob' && method === 'DELETE') {
      this.#generation += 1;
      this.#proofs.forgetResource(resourceOf('blob', endpoint.name, endpoint.digest));
    }
    if (endpoint.kind !== 'manifest') return;
    const { name, reference } = endpoint;
    this.#generation += 1;
    // With a manifest its tags go, whatever they are called.
    if (method === 'DELETE' && isDigest(reference)) this.#proofs.forgetManifests(name);
    for (const touched of [reference, ...query.getAll('tag')]) {
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

function discard(answer: RegistryAnswer | undefined): void {
  if (answer?.body instanceof Readable) answer.body.destroy();
}
