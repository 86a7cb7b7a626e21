import type { Digest } from '../../schemas/oci/digest.ts';
import { decodeImageToc } from '../../schemas/toc/image-toc.ts';
import type { LayerToc } from '../../schemas/toc/layer-toc.ts';
import { mergeLayers } from '../../schemas/toc/merge.ts';
import type { Tree } from '../../schemas/toc/tree.ts';
import { ContentLocator } from './content-locator.ts';
import type { DocumentFiles } from './document-files.ts';

/** An image's tables, decoded: what is needed to mount it and to find its contents. */
export class ImageTables {
  readonly layers: readonly LayerToc[];
  readonly #trees = new Map<number, WeakRef<Tree>>();
  #locator: WeakRef<ContentLocator> | undefined;

  constructor(layers: readonly LayerToc[]) {
    this.layers = layers;
  }

  /** The merged tree of the lowest `depth` layers; the same object as long as anybody holds it. */
  tree(depth: number = this.layers.length): Tree {
    const held = this.#trees.get(depth)?.deref();
    if (held !== undefined) return held;
    const tree = mergeLayers(this.layers.slice(0, depth));
    this.#trees.set(depth, new WeakRef(tree));
    return tree;
  }

  locator(): ContentLocator {
    const held = this.#locator?.deref();
    if (held !== undefined) return held;
    const locator = new ContentLocator(this.layers);
    this.#locator = new WeakRef(locator);
    return locator;
  }
}

/** The tables of the images here, read when first needed and kept as long as somebody holds them. */
export class TableCache {
  readonly #documents: DocumentFiles;
  readonly #held = new Map<Digest, WeakRef<ImageTables>>();
  readonly #loading = new Map<Digest, Promise<ImageTables>>();

  constructor(documents: DocumentFiles) {
    this.#documents = documents;
  }

  /** @throws {Error} when the table is not here or damaged. */
  async load(tocDigest: Digest): Promise<ImageTables> {
    const held = this.#held.get(tocDigest)?.deref();
    if (held !== undefined) return held;
    const loading = this.#loading.get(tocDigest) ?? this.#read(tocDigest);
    this.#loading.set(tocDigest, loading);
    try {
      return await loading;
    } finally {
      this.#loading.delete(tocDigest);
    }
  }

  async #read(tocDigest: Digest): Promise<ImageTables> {
    const tables = new ImageTables(decodeImageToc(await this.#documents.get(tocDigest)));
    for (const [digest, ref] of this.#held) if (ref.deref() === undefined) this.#held.delete(digest);
    this.#held.set(tocDigest, new WeakRef(tables));
    return tables;
  }
}
