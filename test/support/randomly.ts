/** Random things from a fixed seed, the same on every run. */
export interface Randomly {
  /** A whole number below `limit`. */
  below(limit: number): number;
  /** Bytes that deflate does not shrink. */
  noise(sizeBytes: number): Buffer;
  /** A copy cut short, with bits flipped, bytes set to extremes, or pieces taken out or put in twice. */
  damaged(bytes: Uint8Array): Uint8Array;
}

export function randomly(seed: number): Randomly {
  let state = seed >>> 0;
  /** mulberry32 */
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    below,
    noise: (sizeBytes) => Buffer.from(Uint8Array.from({ length: sizeBytes }, () => below(256))),
    damaged(bytes) {
      const out = Buffer.from(bytes);
      const at = below(out.length);
      switch (below(5)) {
        case 0:
          return out.subarray(0, at);
        case 1:
          for (let i = below(4); i >= 0; i -= 1) {
            const index = below(out.length);
            out[index] = (out[index] ?? 0) ^ (1 << below(8));
          }
          return out;
        case 2:
          out.fill(below(2) === 0 ? 0xff : 0, at, Math.min(out.length, at + 1 + below(9)));
          return out;
        case 3:
          return Buffer.concat([out.subarray(0, at), out.subarray(at + 1 + below(40))]);
        default:
          return Buffer.concat([out.subarray(0, at), out.subarray(Math.max(0, at - below(40)))]);
      }
    },
  };
}
