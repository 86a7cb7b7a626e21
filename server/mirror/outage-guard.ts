import { LRUCache } from 'lru-cache';
import { retryAfterMs } from '../../schemas/image/registry-client.ts';
import { Circuit } from '../cache/circuit.ts';
import type { MirrorConfig } from '../config.ts';
import type { Registry, RegistryAnswer, RegistryRequest } from '../registry/registry.ts';
import { isUpstreamAway, RegistryError } from '../registry/registry-error.ts';
import { headerValue } from '../upstream/headers.ts';
import { type CallerId, callerId } from './caller.ts';
import type { StoreLog } from './blob-store.ts';
import type { MirrorCounters } from './counters.ts';

/** Answers of something that stands before a registry which is away, or of one that is about to be. */
const AWAY: ReadonlySet<number> = new Set([502, 503, 504]);
/** Callers whose Retry-After is remembered. */
const MAX_HELD_CALLERS = 10_000;
/** No upstream is believed that it will be away for longer. */
const MAX_RETRY_AFTER_MS = 3_600_000;

interface Hold {
  readonly status: 429 | 503;
  readonly untilMs: number;
}

export interface GuardOptions {
  readonly registry: Registry;
  readonly config: Pick<MirrorConfig, 'circuitFailures' | 'circuitOpenMs'>;
  /** For logs. */
  readonly upstream: string;
  /** What callers are told apart with. */
  readonly key: Uint8Array;
  readonly counters: MirrorCounters;
  readonly log: StoreLog;
  /** Wall clock: Retry-After may be a date. */
  readonly nowMs: () => number;
}

/**
 * Does not ask a registry that is away: after failures in a row (no connection, no answer in time, 502, 503, 504)
 * requests are answered 503 at once, until one that is let through goes well. What it says by Retry-After is kept
 * to: with 429 for that caller, with 503 for all.
 */
export class OutageGuard implements Registry {
  readonly #options: GuardOptions;
  readonly #circuit: Circuit;
  readonly #held = new LRUCache<CallerId, Hold>({ max: MAX_HELD_CALLERS });
  #allHeld: Hold | undefined;

  constructor(options: GuardOptions) {
    this.#options = options;
    const { config, nowMs } = options;
    this.#circuit = new Circuit({ failures: config.circuitFailures, openMs: config.circuitOpenMs, nowMs });
  }

  /** @throws {RegistryError} also 'upstream-withheld' */
  async answer(request: RegistryRequest): Promise<RegistryAnswer> {
    const caller = callerId(request.rawHeaders, this.#options.key);
    this.#throwIfHeld(caller);
    const admission = this.#circuit.admit();
    if (admission === undefined) throw this.#withheld(503, this.#circuit.waitMs);
    try {
      const answer = await this.#options.registry.answer(request);
      if (AWAY.has(answer.status)) this.#failed(admission.failed);
      else admission.succeeded();
      this.#heed(caller, answer);
      return answer;
    } catch (error) {
      if (isUpstreamAway(error)) this.#failed(admission.failed);
      throw error;
    } finally {
      admission.abandoned(); // the client's own going away, and faults that are not the upstream's
    }
  }

  #failed(tell: () => void): void {
    const { counters, log, upstream } = this.#options;
    const before = this.#circuit.open;
    tell();
    if (before || !this.#circuit.open) return;
    counters.opened += 1;
    log.warn({ upstream }, 'the upstream does not answer: it is left alone for a while');
  }

  #heed(caller: CallerId, { status, headers }: RegistryAnswer): void {
    if (status !== 429 && status !== 503) return;
    const nowMs = this.#options.nowMs();
    const waitMs = retryAfterMs(headerValue(headers, 'retry-after'), nowMs);
    if (waitMs === undefined || waitMs === 0) return;
    const hold: Hold = { status, untilMs: nowMs + Math.min(waitMs, MAX_RETRY_AFTER_MS) };
    if (status === 429) this.#held.set(caller, hold);
    else this.#allHeld = hold;
  }

  #throwIfHeld(caller: CallerId): void {
    const nowMs = this.#options.nowMs();
    for (const hold of [this.#allHeld, this.#held.get(caller)]) {
      if (hold !== undefined && hold.untilMs > nowMs) throw this.#withheld(hold.status, hold.untilMs - nowMs);
    }
  }

  #withheld(status: 429 | 503, waitMs: number): RegistryError {
    this.#options.counters.withheld += 1;
    const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
    return new RegistryError({ kind: 'upstream-withheld', status, retryAfterSeconds });
  }
}
