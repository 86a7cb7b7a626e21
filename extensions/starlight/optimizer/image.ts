import type { LayerToc } from '../../../schemas/toc/layer-toc.ts';
import type { Tree } from '../../../schemas/toc/tree.ts';
import type { Rank } from './ranks.ts';

/** An image that a bundle is to bring. */
export interface WantedImage {
  /** The lowest first. */
  readonly layers: readonly LayerToc[];
  /** `mergeLayers(layers)` */
  readonly tree: Tree;
  /** What was opened in traces of it, or of its predecessors; in no order. */
  readonly ranks: readonly Rank[];
  /** The command that its config names, entrypoint and arguments; empty where unknown. */
  readonly command: readonly string[];
}
