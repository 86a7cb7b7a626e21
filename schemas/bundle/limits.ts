/** Bounds of a delta bundle. Writer and reader refuse what is beyond them. */
export const BUNDLE_LIMIT = {
  /** The header as it is sent, and decompressed. */
  headerBytes: 512 * 1024 * 1024,
  jsonBytes: 16 * 1024 * 1024,
  /** Images that are wanted, or that the worker has. */
  images: 256,
  /** Indexes, manifests and configs. */
  blobs: 1024,
  blobBytes: 8 * 1024 * 1024,
  mediaTypeBytes: 255,
  digestBytes: 135,
  files: 16_000_000,
  /** Positions and lengths, so that sums are still exact. */
  magnitude: 2 ** 50,
} as const;
