import type { Descriptor } from '../oci/types.ts';
import type { ConvertedLayer } from './convert-layer.ts';

/** Who hears how a conversion goes. */
export interface ConvertListener {
  /** A layer is about to be converted; several may be at once. */
  readonly layerStarted?: (layer: Descriptor) => void;
  /** @param readBytes of the source's blob so far. */
  readonly layerProgress?: (layer: Descriptor, readBytes: number) => void;
  readonly layerDone?: (layer: ConvertedLayer) => void;
}
