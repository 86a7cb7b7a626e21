import { ByteReader } from '../../../schemas/toc/byte-reader.ts';
import { ByteWriter } from '../../../schemas/toc/byte-writer.ts';
import { NONE, type Tree } from '../../../schemas/toc/tree.ts';

/**
 * What an image opens first, as far as it is known without a trace: rows of its shown contents, each once, in the
 * order in which they are likely opened.
 */
export type StartOrder = Uint32Array;

/** Contents in one order. */
export const MAX_START = 4096;

/** Of files of a tree, given as inodes. What has no content, and what comes again, is left out. */
export function startOrder(tree: Tree, inodes: Iterable<number>): StartOrder {
  const rows = new Set<number>();
  for (const inode of inodes) {
    const content = tree.content[inode] ?? NONE;
    if (content !== NONE && rows.size < MAX_START) rows.add(content);
  }
  return Uint32Array.from(rows);
}

/* As bytes, varints: version = 1 | count | count × row */
const VERSION = 1;

/** The same order is the same bytes. */
export function encodeStartOrder(order: StartOrder): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter(16 + order.length * 4);
  writer.u8(VERSION).varint(order.length);
  for (const row of order) writer.varint(row);
  return writer.finish();
}

/**
 * @param shownCount how many contents the image shows
 * @throws {RangeError} on what encodeStartOrder() did not write for such an image
 */
export function decodeStartOrder(bytes: Uint8Array, shownCount: number): StartOrder {
  const reader = new ByteReader(bytes, (_, message) => new RangeError(message));
  if (reader.u8() !== VERSION) throw new RangeError('not an order of starting, version 1');
  const order = new Uint32Array(reader.count(Math.min(MAX_START, shownCount), 1));
  if (order.length > 0) reader.varints(order, shownCount - 1);
  reader.end();
  if (new Set(order).size !== order.length) throw new RangeError('a content that comes twice');
  return order;
}
