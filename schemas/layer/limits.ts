/** Bounds of what is read from a layer; what a table of contents holds is bounded by its own limits. */
export const LAYER_LIMIT = {
  /** Data of one PAX header or GNU long name; Go's archive/tar has the same. */
  specialEntryBytes: 1024 * 1024,
  /** Header of a gzip member, its optional fields included. */
  gzipHeaderBytes: 128 * 1024,
  gzipMembers: 16_000_000,
  /** Entries of the tar, those that no row comes of included. */
  entries: 4_000_000,
  /** `stargz.index.json`, uncompressed. */
  estargzTocBytes: 256 * 1024 * 1024,
  /** A sparse file, its holes included; its content is written out once more, compressed. */
  sparseFileBytes: 1024 * 1024 * 1024,
  /** What the contents of all sparse files of a layer compress to. */
  hiddenBytes: 64 * 1024 * 1024,
  /**
   * How much a payload may decompress to beyond the contents asked for, for a layer to count as seekable:
   * what a reader at worst decompresses and throws away.
   */
  payloadSlackBytes: 1024 * 1024,
} as const;
