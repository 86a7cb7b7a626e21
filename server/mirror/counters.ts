/** What a mirror counts, from the start of the process on. */
export const MIRROR_COUNTERS = [
  /** Answers whose content came from the disk, whole and verified. */
  'hits',
  /** Answers whose content was, at least in part, still on its way from the upstream. */
  'fills',
  /** Answers passed through although a cache is configured: no room, disk in trouble, or not cacheable. */
  'passed',
  /** Requests for content sent upstream, and the bytes that they brought. */
  'contentRequests',
  'contentBytes',
  /** Questions (HEAD) sent upstream to prove a caller's right or to revalidate a tag. */
  'proofRequests',
  /** Answers given from what was known because the upstream could not be asked; each carried a Warning. */
  'stale',
  /** Requests not sent because of the circuit breaker or Retry-After. */
  'withheld',
  /** How often the circuit breaker opened. */
  'opened',
  /** Fills whose bytes had another digest. */
  'wrongDigests',
  /** Files in the cache that were found changed, and removed. */
  'corrupt',
  'evicted',
  'diskErrors',
] as const;
export type MirrorCounter = (typeof MIRROR_COUNTERS)[number];

/** Read it at any time; only the mirror writes. */
export type MirrorCounters = Record<MirrorCounter, number>;

export function mirrorCounters(): MirrorCounters {
  return Object.fromEntries(MIRROR_COUNTERS.map((name) => [name, 0])) as MirrorCounters; // all names are there
}
