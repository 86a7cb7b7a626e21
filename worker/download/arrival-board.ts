import type { Digest } from '../../schemas/oci/digest.ts';
import type { Tree } from '../../schemas/toc/tree.ts';
import type { ContentLocator, ContentRow } from '../images/content-locator.ts';
import type { ContentStore } from '../store/content-store.ts';
import { Turns } from '../store/turns.ts';

const UNWANTED = 0;
const MISSING = 1;
const HERE = 2;

/**
 * Which contents of an image are in the store, and how many bytes that makes. It follows the store, so that a
 * content counts whichever way it came. One byte per content.
 */
export class ArrivalBoard {
  readonly contentsTotal: number;
  readonly bytesTotal: number;
  readonly #locator: ContentLocator;
  readonly #state: Uint8Array;
  #contentsArrived = 0;
  #bytesArrived = 0;

  /** Wants the contents of `tree`; ask {@link look} what is here. */
  constructor(tree: Tree, locator: ContentLocator) {
    this.#locator = locator;
    this.#state = new Uint8Array(locator.rowCount).fill(UNWANTED);
    let bytesTotal = 0;
    for (let content = 0; content < tree.contentCount; content += 1) {
      this.#state[locator.rowAt(tree.contentLayer[content] ?? 0, tree.contentRow[content] ?? 0)] = MISSING;
      bytesTotal += tree.contentSize[content] ?? 0;
    }
    this.contentsTotal = tree.contentCount;
    this.bytesTotal = bytesTotal;
  }

  get contentsArrived(): number {
    return this.#contentsArrived;
  }

  get bytesArrived(): number {
    return this.#bytesArrived;
  }

  get isComplete(): boolean {
    return this.#contentsArrived === this.contentsTotal;
  }

  /**
   * Looks for every missing content in the store, with turns for others in between: it takes some milliseconds
   * per thousand contents.
   */
  async look(store: ContentStore, signal: AbortSignal): Promise<void> {
    const turns = new Turns();
    for (const row of this.missing()) {
      if (store.has(this.#locator.digestOf(row))) this.#mark(row);
      if (!turns.isOver) continue;
      await turns.next();
      signal.throwIfAborted();
    }
  }

  /** A content has become visible; of another image, maybe. */
  arrived(digest: Digest): void {
    const row = this.#locator.find(digest);
    if (row !== undefined) this.#mark(row);
  }

  /** True when the image's tree has the content and it is not here yet. */
  isMissing(row: ContentRow): boolean {
    return this.#state[row] === MISSING;
  }

  /** The contents that are not here; it may be marked while this runs. */
  *missing(): Generator<ContentRow> {
    for (let row = this.#state.indexOf(MISSING); row >= 0; row = this.#state.indexOf(MISSING, row + 1)) {
      yield row as ContentRow; // a place in a column of as many rows
    }
  }

  #mark(row: ContentRow): void {
    if (this.#state[row] !== MISSING) return;
    this.#state[row] = HERE;
    this.#contentsArrived += 1;
    this.#bytesArrived += this.#locator.sizeBytesOf(row);
  }
}
