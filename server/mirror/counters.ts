import type { Metric } from '../metrics.ts';

/** What a mirror counts, from the start of the process on, and what each is. */
export const MIRROR_COUNTERS = {
  hits: 'Answers whose content came from the disk, whole and verified.',
  fills: 'Answers whose content was, at least in part, still on its way from the upstream.',
  passed:
    'Answers passed through although a cache is configured: no room, disk in trouble, or not cacheable.',
  contentRequests: 'Requests for content sent upstream.',
  contentBytes: 'Bytes that those brought.',
  proofRequests: "Questions (HEAD) sent upstream to prove a caller's right or to revalidate a tag.",
  stale:
    'Answers given from what was known because the upstream could not be asked; each had a Warning header.',
  withheld: 'Requests not sent because of the circuit breaker or Retry-After.',
  opened: 'How often the circuit breaker opened.',
  wrongDigests: 'Contents whose bytes had another digest.',
  corrupt: 'Files in the cache that were found changed, and removed.',
  evicted: 'Contents that made room for others.',
  diskErrors: 'Errors of the disk that the cache is on.',
} as const;
export type MirrorCounter = keyof typeof MIRROR_COUNTERS;

/** Read it at any time; only the mirror writes. */
export type MirrorCounters = Record<MirrorCounter, number>;

export function mirrorCounters(): MirrorCounters {
  return Object.fromEntries(names().map((name) => [name, 0])) as MirrorCounters; // all names are there
}

export function counterMetrics(counters: MirrorCounters): readonly Metric[] {
  return names().map((name) => ({
    name: `starlight_mirror_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`,
    help: MIRROR_COUNTERS[name],
    type: 'counter',
    value: () => counters[name],
  }));
}

function names(): MirrorCounter[] {
  return Object.keys(MIRROR_COUNTERS) as MirrorCounter[]; // the table's own
}
