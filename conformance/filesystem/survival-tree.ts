import type { Tree } from '../../schemas/toc/tree.ts';
import { sampleBytes } from './sample-content.ts';
import { directory, file, sampleTree } from './sample-tree.ts';

/** Contents of the tree that outlives its server: some there from the start, some that come late. */
export const SURVIVAL = {
  large: sampleBytes(8 * 1024 * 1024 + 3, 11),
  late: sampleBytes(70_000, 12),
  later: sampleBytes(70_001, 13),
  small: Array.from({ length: 2_000 }, (_, index) => Buffer.from(`small ${index}`)),
} as const;

export function survivalTree(): Tree {
  return sampleTree([
    file('large', SURVIVAL.large),
    file('late', SURVIVAL.late),
    file('later', SURVIVAL.later),
    ...Array.from({ length: 20 }, (_, index) => directory(`d${index}`)),
    ...SURVIVAL.small.map((bytes, index) => file(`d${index % 20}/small-${index}`, bytes)),
  ]);
}
