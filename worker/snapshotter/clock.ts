import type { EpochNs } from './snapshot.ts';

/** The time of day, injected so that tests can set it. */
export type Clock = () => EpochNs;

/** The system's clock, as fine as it ticks. */
export const systemClock: Clock = () => Temporal.Now.instant().epochNanoseconds;
