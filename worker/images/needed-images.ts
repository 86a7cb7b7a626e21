import type { ChainId } from '../../schemas/oci/chain-id.ts';
import type { ImageLayer } from './image.ts';

export type DividedImages<I> = { readonly needed: readonly I[]; readonly unneeded: readonly I[] };

/**
 * Tells images that something stands on from the others: needed is one whose topmost layer is among `live`, one
 * that is held, and one with a lower live layer that no image needed so far has (the first such in the order given).
 */
export function divideImages<I extends { readonly layers: readonly Pick<ImageLayer, 'chainId'>[] }>(
  images: readonly I[],
  live: ReadonlySet<ChainId>,
  isHeld: (image: I) => boolean,
): DividedImages<I> {
  const covered = new Set<ChainId>();
  const needed: I[] = [];
  const rest: I[] = [];
  const keep = (image: I): void => {
    needed.push(image);
    for (const layer of image.layers) covered.add(layer.chainId);
  };
  for (const image of images) {
    const top = image.layers.at(-1);
    if ((top !== undefined && live.has(top.chainId)) || isHeld(image)) keep(image);
    else rest.push(image);
  }
  const unneeded: I[] = [];
  for (const image of rest) {
    if (image.layers.some(({ chainId }) => live.has(chainId) && !covered.has(chainId))) keep(image);
    else unneeded.push(image);
  }
  return { needed, unneeded };
}
