import type { Digest } from '../oci/digest.ts';
import { digestAt } from '../oci/digest.ts';
import type { Kind } from './kind.ts';

/** An extended attribute; the name without the `SCHILY.xattr.` of its PAX record, raw like the value. */
export type Xattr = readonly [name: Uint8Array, value: Uint8Array];

/** Byte strings of many rows: row r is `bytes[offsets[r], offsets[r + 1])`. */
export interface ByteColumn {
  /** One more than there are rows. */
  readonly offsets: Uint32Array;
  readonly bytes: Uint8Array;
}

/** The unique contents of a layer, in the order of their first use by a row. */
export interface ContentColumns {
  /** sha256, 32 raw bytes each. */
  readonly digest: Uint8Array;
  readonly sizeBytes: Float64Array;
  /** Row of the payload that carries it. */
  readonly payload: Uint32Array;
  /** Where it begins in that payload, decompressed. */
  readonly innerOffset: Float64Array;
}

/** Byte ranges of the layer blob, each one or several whole gzip members in a row; ordered by first use. */
export interface PayloadColumns {
  readonly offset: Float64Array;
  readonly length: Float64Array;
}

/** The fields of a {@link LayerToc}. */
export interface LayerTocColumns {
  /** sha256 of the uncompressed tar stream. */
  readonly diffId: Digest;
  readonly kind: Uint8Array;
  /** Raw bytes relative to the root, as `checkPath` wants them; the root is the empty path. */
  readonly path: ByteColumn;
  /** The lowest twelve bits of st_mode. */
  readonly mode: Uint16Array;
  readonly uid: Uint32Array;
  readonly gid: Uint32Array;
  /** May be negative. */
  readonly mtimeSec: Float64Array;
  /** 0 to 999,999,999, added to the seconds. */
  readonly mtimeNsec: Uint32Array;
  readonly devMajor: Uint32Array;
  readonly devMinor: Uint32Array;
  /** Of a symlink the target verbatim, of a hardlink the path of the target as in `path`; otherwise empty. */
  readonly link: ByteColumn;
  /** Row of `xattrSets`. */
  readonly xattr: Uint32Array;
  /** Row 0 is the empty set. Names ascend bytewise within a set. */
  readonly xattrSets: readonly (readonly Xattr[])[];
  /** Row of `contents`; NONE for what is no file or is empty. */
  readonly content: Uint32Array;
  readonly contents: ContentColumns;
  readonly payloads: PayloadColumns;
}

/**
 * The table of contents of one layer: a row for each entry of its tar, in tar order. A whiteout's path is
 * the path that it hides, an opaque row's that of its directory. About 48 bytes per row and its path, and 52
 * bytes per content.
 */
export class LayerToc implements LayerTocColumns {
  readonly diffId: Digest;
  readonly kind: Uint8Array;
  readonly path: ByteColumn;
  readonly mode: Uint16Array;
  readonly uid: Uint32Array;
  readonly gid: Uint32Array;
  readonly mtimeSec: Float64Array;
  readonly mtimeNsec: Uint32Array;
  readonly devMajor: Uint32Array;
  readonly devMinor: Uint32Array;
  readonly link: ByteColumn;
  readonly xattr: Uint32Array;
  readonly xattrSets: readonly (readonly Xattr[])[];
  readonly content: Uint32Array;
  readonly contents: ContentColumns;
  readonly payloads: PayloadColumns;

  constructor(columns: LayerTocColumns) {
    this.diffId = columns.diffId;
    this.kind = columns.kind;
    this.path = columns.path;
    this.mode = columns.mode;
    this.uid = columns.uid;
    this.gid = columns.gid;
    this.mtimeSec = columns.mtimeSec;
    this.mtimeNsec = columns.mtimeNsec;
    this.devMajor = columns.devMajor;
    this.devMinor = columns.devMinor;
    this.link = columns.link;
    this.xattr = columns.xattr;
    this.xattrSets = columns.xattrSets;
    this.content = columns.content;
    this.contents = columns.contents;
    this.payloads = columns.payloads;
  }

  get rowCount(): number {
    return this.kind.length;
  }

  get contentCount(): number {
    return this.contents.sizeBytes.length;
  }

  get payloadCount(): number {
    return this.payloads.offset.length;
  }

  kindAt(row: number): Kind {
    return this.kind[row] as Kind; // builder and decoder let in nothing else
  }

  pathAt(row: number): Uint8Array {
    return byteRow(this.path, row);
  }

  linkAt(row: number): Uint8Array {
    return byteRow(this.link, row);
  }

  xattrsAt(row: number): readonly Xattr[] {
    return this.xattrSets[this.xattr[row] ?? 0] ?? [];
  }

  digestOfContent(content: number): Digest {
    return digestAt(this.contents.digest, content);
  }
}

/** The bytes of a row; a view, not a copy. */
export function byteRow(column: ByteColumn, row: number): Uint8Array {
  return column.bytes.subarray(column.offsets[row], column.offsets[row + 1]);
}
