import { DigestIndex, digestWords } from './digest-index.ts';
import { NONE } from './kind.ts';
import type { LayerToc } from './layer-toc.ts';
import type { TreeColumns } from './tree.ts';

/** The contents that a tree uses, numbered as they are met; each digest once, taken from the lowest layer. */
export class ContentTable {
  readonly #layers: readonly LayerToc[];
  /** By layer: for each of its contents, which unique one it is. */
  readonly #unique = new Map<LayerToc, Uint32Array>();
  /** By unique content: the lowest layer that has it, and its row there. */
  readonly #layer: Uint16Array;
  readonly #row: Uint32Array;
  /** By unique content: its row in the tree + 1. */
  readonly #rows: Uint32Array;
  /** By row in the tree: the unique content. */
  readonly #used: Uint32Array;
  #count = 0;
  #lastLayer: LayerToc | undefined;
  #lastUnique: Uint32Array = new Uint32Array(0);

  constructor(layers: readonly LayerToc[]) {
    this.#layers = layers;
    const most = layers.reduce((sum, layer) => sum + layer.contentCount, 0);
    const index = new DigestIndex(most);
    this.#layer = new Uint16Array(most);
    this.#row = new Uint32Array(most);
    for (const [number, layer] of layers.entries()) {
      const words = digestWords(layer.contents.digest);
      const unique = new Uint32Array(layer.contentCount);
      for (let row = 0; row < unique.length; row += 1) {
        const known = index.length;
        const one = index.add(words, row);
        unique[row] = one;
        if (one < known) continue;
        this.#layer[one] = number;
        this.#row[one] = row;
      }
      this.#unique.set(layer, unique);
    }
    this.#rows = new Uint32Array(index.length);
    this.#used = new Uint32Array(index.length);
  }

  /** The row in the tree of a content of a layer. */
  row(layer: LayerToc, content: number): number {
    if (content === NONE) return NONE;
    if (layer !== this.#lastLayer) {
      this.#lastLayer = layer;
      this.#lastUnique = this.#unique.get(layer) ?? this.#lastUnique;
    }
    const unique = this.#lastUnique[content] ?? 0;
    if (this.#rows[unique] === 0) {
      this.#used[this.#count] = unique;
      this.#count += 1;
      this.#rows[unique] = this.#count;
    }
    return (this.#rows[unique] ?? 0) - 1;
  }

  sizeBytes(row: number): number {
    if (row === NONE) return 0;
    const unique = this.#used[row] ?? 0;
    return this.#layers[this.#layer[unique] ?? 0]?.contents.sizeBytes[this.#row[unique] ?? 0] ?? 0;
  }

  finish(): Pick<TreeColumns, 'contentDigest' | 'contentSize' | 'contentLayer' | 'contentRow'> {
    const contentDigest = new Uint8Array(this.#count * 32);
    const contentSize = new Float64Array(this.#count);
    const contentLayer = new Uint16Array(this.#count);
    const contentRow = new Uint32Array(this.#count);
    const to = digestWords(contentDigest);
    const digests = this.#layers.map((layer) => digestWords(layer.contents.digest));
    for (let row = 0; row < this.#count; row += 1) {
      const unique = this.#used[row] ?? 0;
      const layer = this.#layer[unique] ?? 0;
      const from = this.#row[unique] ?? 0;
      contentLayer[row] = layer;
      contentRow[row] = from;
      contentSize[row] = this.sizeBytes(row);
      const words = digests[layer] ?? to;
      for (let i = 0; i < 8; i += 1) to[row * 8 + i] = words[from * 8 + i] ?? 0;
    }
    return { contentDigest, contentSize, contentLayer, contentRow };
  }
}
