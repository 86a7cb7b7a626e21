/** Bounds of a table of contents. Builder and decoder refuse what is beyond them. */
export const TOC_LIMIT = {
  /** Rows of one layer. */
  rows: 4_000_000,
  /** Layers of one image; as many as a manifest may list. */
  layers: 1024,
  /** Linux, PATH_MAX with its NUL. */
  pathBytes: 4095,
  /** Linux, NAME_MAX. */
  nameBytes: 255,
  linkBytes: 4095,
  /** All paths of one layer, written out. */
  allPathsBytes: 512 * 1024 * 1024,
  /** Linux, XATTR_NAME_MAX. */
  xattrNameBytes: 255,
  /** Linux, XATTR_SIZE_MAX. */
  xattrValueBytes: 65_536,
  /** Names and values of one set: what a directory entry in the tar may carry. */
  xattrsOfOneRow: 1024,
  xattrSets: 65_536,
  /** All sets of one layer. */
  allXattrBytes: 64 * 1024 * 1024,
  /** The encoded table of one image, uncompressed. */
  imageBytes: 1024 * 1024 * 1024,
  /** Sizes, offsets and times, in absolute value: so that a difference of two is still exact. */
  magnitude: 2 ** 50,
} as const;
