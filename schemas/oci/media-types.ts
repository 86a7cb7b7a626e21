/** Media types of the OCI image-spec and of Docker's image manifest version 2, schema 2. */
export const MEDIA_TYPE = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  /** The table of contents of a converted image: the artifact type and the type of its one blob. */
  starlightToc: 'application/vnd.starlight.toc.v1',
  starlightTocZstd: 'application/vnd.starlight.toc.v1+zstd',
  /** The artifact type of an index that refers to an image and lists what that is converted. */
  starlightImage: 'application/vnd.starlight.image.v1',
  starlightBundle: 'application/vnd.starlight.bundle.v1',
} as const;

/** Every manifest type a puller should accept, for an `Accept` header. */
export const MANIFEST_MEDIA_TYPES = [
  MEDIA_TYPE.ociIndex,
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.dockerList,
  MEDIA_TYPE.dockerManifest,
] as const;

export function isIndexType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE.ociIndex || mediaType === MEDIA_TYPE.dockerList;
}

export function isManifestType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE.ociManifest || mediaType === MEDIA_TYPE.dockerManifest;
}

export type LayerCompression = 'none' | 'gzip' | 'zstd';

const LAYERS: Readonly<Record<string, LayerCompression>> = {
  [MEDIA_TYPE.ociLayer]: 'none',
  [MEDIA_TYPE.ociLayerGzip]: 'gzip',
  [MEDIA_TYPE.ociLayerZstd]: 'zstd',
  [MEDIA_TYPE.dockerLayer]: 'none',
  [MEDIA_TYPE.dockerLayerGzip]: 'gzip',
  [MEDIA_TYPE.dockerLayerZstd]: 'zstd',
};

/** How a file-system layer of this type is compressed; undefined for what is no such layer. */
export function layerCompression(mediaType: string): LayerCompression | undefined {
  return LAYERS[mediaType];
}
