import type { Descriptor, ImageConfig } from '../oci/types.ts';
import type { ConvertedLayer } from './convert-layer.ts';

/** Who hears how a conversion goes. */
export interface ConvertListener {
  /** An image is about to be converted; some of its layers may have been, with an earlier one of the same index. */
  readonly imageStarted?: (layers: readonly Descriptor[], config: ImageConfig) => void;
  /** A layer is about to be converted; several may be at once. */
  readonly layerStarted?: (layer: Descriptor) => void;
  /** @param readBytes of the source's blob so far. */
  readonly layerProgress?: (layer: Descriptor, readBytes: number) => void;
  readonly layerDone?: (layer: ConvertedLayer) => void;
}
