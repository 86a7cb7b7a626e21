import type { ContentColumns, PayloadColumns } from '../../../schemas/toc/layer-toc.ts';
import type { Rank } from './ranks.ts';
import type { ShownContents } from './shown.ts';
import type { StartOrder } from './start-order.ts';

/** What a layer stores, without the entries that use it. */
export interface LayerContents {
  readonly contents: ContentColumns;
  readonly payloads: PayloadColumns;
}

/** An image that somebody holds. */
export interface HeldImage {
  /** sha256 of the contents of all layers, the lowest first: eight words each, see `contentWords`. */
  readonly words: Int32Array;
  /** Rows in `words` of what the merged image shows. */
  readonly shown: Uint32Array;
}

/** An image that a bundle is to bring. */
export interface WantedImage {
  /** The lowest first. */
  readonly layers: readonly LayerContents[];
  readonly shown: ShownContents;
  /** What it opens first, for contents that nobody has traced. */
  readonly start: StartOrder;
  /** What was opened in traces of it, or of its predecessors; in no order. */
  readonly ranks: readonly Pick<Rank, 'content' | 'rankSum' | 'hits'>[];
}

/** The digests of several layers behind each other, in memory that is theirs. */
export function contentWords(digests: readonly Uint8Array[]): Int32Array {
  const all = new Uint8Array(digests.reduce((sum, one) => sum + one.length, 0));
  let at = 0;
  for (const one of digests) {
    all.set(one, at);
    at += one.length;
  }
  return new Int32Array(all.buffer);
}

export function wordsOf(layers: readonly LayerContents[]): Int32Array {
  return contentWords(layers.map(({ contents }) => contents.digest));
}
