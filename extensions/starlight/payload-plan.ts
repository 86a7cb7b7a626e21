import type { Digest } from '../../schemas/oci/digest.ts';

/** A layer blob that payloads are copied from, in a repository that the caller may read. */
export interface PayloadSource {
  readonly name: string;
  readonly digest: Digest;
}

/**
 * Where the payloads of a bundle come from, in the order in which they are sent: one row per payload, 20 bytes
 * each. `position` has one row more: where each begins in the run of all payloads, and where that ends.
 */
export interface PayloadPlan {
  readonly sources: readonly PayloadSource[];
  /** Row of `sources`. */
  readonly source: Uint32Array;
  /** Byte range of the blob. */
  readonly offset: Float64Array;
  readonly length: Float64Array;
  readonly position: Float64Array;
}

/** A run of bytes to be sent: all of a payload, or its end when a stream is taken up in the middle of it. */
export interface Piece {
  readonly source: number;
  readonly offset: number;
  readonly length: number;
  /** True when it begins where a payload begins. */
  readonly entire: boolean;
}

export function payloadPlan(
  sources: readonly PayloadSource[],
  source: Uint32Array,
  offset: Float64Array,
  length: Float64Array,
): PayloadPlan {
  const position = new Float64Array(length.length + 1);
  for (let row = 0; row < length.length; row++) {
    position[row + 1] = (position[row] ?? 0) + (length[row] ?? 0);
  }
  return { sources, source, offset, length, position };
}

/** The bytes of all payloads together. */
export function totalBytes(plan: PayloadPlan): number {
  return plan.position[plan.length.length] ?? 0;
}

/** The pieces from byte `start` of the run of payloads on. */
export function* piecesFrom(plan: PayloadPlan, start: number): Generator<Piece> {
  for (let row = rowAt(plan, start); row < plan.length.length; row++) {
    const skipped = Math.max(0, start - (plan.position[row] ?? 0));
    const length = (plan.length[row] ?? 0) - skipped;
    if (length === 0) continue;
    yield {
      source: plan.source[row] ?? 0,
      offset: (plan.offset[row] ?? 0) + skipped,
      length,
      entire: skipped === 0,
    };
  }
}

/** The payload in which byte `start` lies. */
function rowAt({ position }: PayloadPlan, start: number): number {
  let low = 0;
  let high = position.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((position[middle + 1] ?? Number.POSITIVE_INFINITY) <= start) low = middle + 1;
    else high = middle;
  }
  return low;
}
