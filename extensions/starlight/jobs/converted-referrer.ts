import type { ManifestDocument } from '../../../schemas/image/image-endpoint.ts';
import { jsonDocument } from '../../../schemas/image/referrers-index.ts';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import { isIndexType, MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import { type Descriptor, type ImageConfig, parseIndex } from '../../../schemas/oci/types.ts';

/**
 * The document that says of an image, its `subject`, what it is converted: an index of artifact type MEDIA_TYPE.starlightImage
 * that lists the converted images by platform. An index even for one image, since Docker's manifest type knows no
 * subject, and what refers must not change what it refers to.
 * @param config of `converted`, where that is a single image.
 */
export function convertedReferrer(
  subject: ManifestDocument,
  converted: ManifestDocument,
  config: ImageConfig | undefined,
): ManifestDocument {
  const manifests = isIndexType(converted.mediaType)
    ? parseIndex(converted.bytes).manifests
    : [{ ...descriptorOf(converted), ...platformOf(config) }];
  return jsonDocument(MEDIA_TYPE.ociIndex, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociIndex,
    artifactType: MEDIA_TYPE.starlightImage,
    manifests,
    subject: descriptorOf(subject),
    annotations: { [ANNOTATION.convertedFrom]: subject.digest },
  });
}

function descriptorOf({ mediaType, digest, bytes }: ManifestDocument): Descriptor {
  return { mediaType, digest, size: bytes.byteLength };
}

function platformOf(config: ImageConfig | undefined): Pick<Descriptor, 'platform'> {
  const { os = 'linux', architecture = 'amd64', variant } = config ?? {};
  return { platform: { os, architecture, ...(variant === undefined ? {} : { variant }) } };
}
