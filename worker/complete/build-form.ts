import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { writeDurably } from '../../schemas/disk/durable-file.ts';
import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { decodeImageToc } from '../../schemas/toc/image-toc.ts';
import { mergeLayers } from '../../schemas/toc/merge.ts';
import type { Tree } from '../../schemas/toc/tree.ts';
import { isMissing } from '../../schemas/process/system-error.ts';
import { contentPath } from '../filesystem/content-files.ts';
import { MetadataImage } from './erofs/metadata-image.ts';
import type { FormRecord } from './form-records.ts';

/** What a metadata image is made of; fit to be posted to a thread. */
export type FormOrder = {
  /** The image's table of contents, and what it must be. */
  readonly tocPath: string;
  readonly tocDigest: Digest;
  /** How many of the lowest layers. */
  readonly depth: number;
  /** The contents: `<2 hex>/<62 hex>` below it. */
  readonly storeDirectory: string;
  readonly target: string;
  /** Where it grows, on the same file system. */
  readonly temporaryDir: string;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** What `target` is if it is there already: then it is only checked. */
  readonly expected: Digest | undefined;
};

export type FormOutcome =
  | { readonly kind: 'intact' }
  | ({ readonly kind: 'built'; readonly inodes: number } & FormRecord)
  /** Contents that the tree needs and the store does not have, or not in their size. */
  | { readonly kind: 'incomplete'; readonly missing: number };

/**
 * Sees to it that `target` is the metadata image of a tree of which every content is in the store: checks what is
 * there, or writes it to a temporary name, forced to the disk and renamed. Takes a second or two for 84,000 files, so
 * it is for a thread of its own (build-aside.ts).
 *
 * @throws {Error} when the table is damaged or does not fit into EROFS; what writing throws
 */
export async function buildForm(order: FormOrder): Promise<FormOutcome> {
  const toc = readFileSync(order.tocPath);
  if (digestOf(toc) !== order.tocDigest) throw new Error(`table of contents ${order.tocDigest} is damaged`);
  const tree = mergeLayers(decodeImageToc(toc).slice(0, order.depth));
  const missing = countMissing(tree, order.storeDirectory);
  if (missing > 0) return { kind: 'incomplete', missing };
  if (order.expected !== undefined && fileDigest(order.target) === order.expected) return { kind: 'intact' };
  const image = new MetadataImage(tree, order.uuid);
  const hash = createHash('sha256');
  const pieces = function* (): Generator<Uint8Array> {
    for (const piece of image.pieces()) {
      hash.update(piece);
      yield piece;
    }
  };
  await writeDurably(order.target, pieces(), { temporaryDir: order.temporaryDir, mode: 0o400 });
  const digest = `sha256:${hash.digest('hex')}` as Digest; // sha256 in hex
  return { kind: 'built', digest, sizeBytes: image.sizeBytes, inodes: tree.inodeCount };
}

/** Undefined when it is not there. */
function fileDigest(path: string): Digest | undefined {
  try {
    return digestOf(readFileSync(path));
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function countMissing(tree: Tree, storeDirectory: string): number {
  let missing = 0;
  for (let content = 0; content < tree.contentCount; content += 1) {
    const path = contentPath(storeDirectory, tree.contentDigest, content);
    if (statSync(path, { throwIfNoEntry: false })?.size !== tree.contentSize[content]) missing += 1;
  }
  return missing;
}
