import { type Digest, digestOf } from './digest.ts';

/** Identifies a stack of layers by their uncompressed contents (image-spec, config.md#layer-chainid). */
export type ChainId = Digest & { readonly __chain: true };

/** The chainIDs of `diffIds` from the lowest layer up; the last is the whole image's. */
export function chainIds(diffIds: readonly Digest[]): ChainId[] {
  const chain: ChainId[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push((parent === undefined ? diffId : digestOf(`${parent} ${diffId}`)) as ChainId);
  }
  return chain;
}
