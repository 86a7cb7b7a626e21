/** Bounds of what is read of an image beside its layers. */
export const IMAGE_LIMIT = {
  /** As registries have it: distribution-spec asks them to take 4 MiB at least. */
  manifestBytes: 16 * 1024 * 1024,
  configBytes: 16 * 1024 * 1024,
  /** Entries of an index, indexes in indexes included. */
  manifests: 16_384,
  /** How deep indexes may lie in indexes. */
  indexDepth: 4,
} as const;
