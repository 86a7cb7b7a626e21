/** Annotation keys, each named where it is defined. */
export const ANNOTATION = {
  /** On a converted manifest: the sha256 of the image's table of contents (schemas/toc), uncompressed. */
  tocDigest: 'dev.starlight.toc.digest',
  /** On a converted manifest: the digest of the manifest it was converted from. */
  convertedFrom: 'dev.starlight.converted-from',
  /** image-spec, annotations.md: the tag of an entry of an image layout's index. */
  refName: 'org.opencontainers.image.ref.name',
  /** stargz-snapshotter, docs/estargz.md: on a layer, the sha256 of its uncompressed TOC JSON. */
  estargzTocDigest: 'containerd.io/snapshot/stargz/toc.digest',
  estargzUncompressedSize: 'io.containers.estargz.uncompressed-size',
} as const;
