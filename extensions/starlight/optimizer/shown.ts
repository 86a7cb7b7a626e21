import { ByteReader } from '../../../schemas/toc/byte-reader.ts';
import { ByteWriter } from '../../../schemas/toc/byte-writer.ts';
import type { LayerToc } from '../../../schemas/toc/layer-toc.ts';
import { TOC_LIMIT } from '../../../schemas/toc/limits.ts';
import { NONE, type Tree } from '../../../schemas/toc/tree.ts';
import { LIKELY, likelyStart } from './likely-start.ts';

/**
 * The contents that a merged image shows, each digest once, in the order of its tree: what a delta needs to
 * know of a tree, so that nothing has to be merged while somebody waits. Five bytes per content.
 */
export interface ShownContents {
  /** Row in the concatenation of the contents of all layers, the lowest first. */
  readonly content: Uint32Array;
  /** How likely it is wanted at the start, see LIKELY; of several files the likeliest. */
  readonly likely: Uint8Array;
}

/**
 * @param tree `mergeLayers(layers)`
 * @param command the words that the image's config names
 */
export function shownContents(
  layers: readonly LayerToc[],
  tree: Tree,
  command: readonly string[],
): ShownContents {
  const firsts: number[] = [];
  let total = 0;
  for (const layer of layers) {
    firsts.push(total);
    total += layer.contentCount;
  }
  const content = new Uint32Array(tree.contentCount);
  for (let row = 0; row < content.length; row += 1) {
    content[row] = (firsts[tree.contentLayer[row] ?? 0] ?? 0) + (tree.contentRow[row] ?? 0);
  }
  const likely = new Uint8Array(tree.contentCount).fill(LIKELY.documents);
  for (const [inode, kind] of likelyStart(tree, command).entries()) {
    const row = tree.content[inode] ?? NONE;
    if (row !== NONE) likely[row] = Math.min(likely[row] ?? 0, kind);
  }
  return { content, likely };
}

/*
 * As bytes, varints: version = 1 | count | count × zigzag distance of the content from the one that follows the
 * one before | count × u8 likely
 */
const VERSION = 1;

/** The same contents are the same bytes. */
export function encodeShown({ content, likely }: ShownContents): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(16 + content.length * 4);
  writer.u8(VERSION).varint(content.length);
  let next = 0;
  for (const one of content) {
    writer.signed(one - next);
    next = one + 1;
  }
  return writer.bytes(likely).finish();
}

/**
 * @param contentCount of all layers together
 * @throws {RangeError} on what encodeShown() did not write for such layers
 */
export function decodeShown(bytes: Uint8Array, contentCount: number): ShownContents {
  const reader = new ByteReader(bytes, (_, message) => new RangeError(message));
  if (reader.u8() !== VERSION) throw new RangeError('not a table of shown contents, version 1');
  const count = reader.count(Math.min(contentCount, TOC_LIMIT.rows * TOC_LIMIT.layers), 2);
  const content = new Uint32Array(count);
  let next = 0;
  for (let row = 0; row < count; row += 1) {
    const one = next + reader.signed(contentCount);
    if (one < 0 || one >= contentCount) throw new RangeError(`no content ${one}`);
    content[row] = one;
    next = one + 1;
  }
  const likely = reader.bytes(count).slice();
  for (const kind of likely) if (kind > LIKELY.documents) throw new RangeError(`no kind ${kind}`);
  reader.end();
  return { content, likely };
}
