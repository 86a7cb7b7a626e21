import { type Digest, digestAlgorithm, digestHex, digestOf } from '../oci/digest.ts';
import { MEDIA_TYPE } from '../oci/media-types.ts';
import { type Descriptor, parseIndex } from '../oci/types.ts';
import type { ManifestDocument } from './image-endpoint.ts';

/** A document from its JSON, as it is stored. */
export function jsonDocument(mediaType: string, value: unknown): ManifestDocument {
  const bytes = Buffer.from(JSON.stringify(value));
  return { mediaType, digest: digestOf(bytes), bytes };
}

/** The tag that stands in for the referrers API (distribution-spec, "Referrers Tag Schema"). */
export function fallbackTag(subject: Digest): string {
  return `${digestAlgorithm(subject)}-${digestHex(subject)}`;
}

/**
 * The list of referrers that a fallback tag names, with one more in it (distribution-spec, "Referrers Tag
 * Schema"). Referrers of the same artifact type are replaced: a manifest has one table of contents. Nothing
 * when the list is right as it is.
 *
 * @param current the list's bytes, if there is one.
 * @throws {DocumentError} when what the tag names is no index.
 */
export function withReferrer(
  current: Uint8Array | undefined,
  manifest: ManifestDocument,
  artifactType: string,
): ManifestDocument | undefined {
  const listed = current === undefined ? [] : parseIndex(current).manifests;
  if (listed.some((one) => one.digest === manifest.digest)) return undefined;
  const own: Descriptor = {
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.byteLength,
    artifactType,
  };
  const manifests = [...listed.filter((one) => one.artifactType !== artifactType), own];
  return jsonDocument(MEDIA_TYPE.ociIndex, { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests });
}
