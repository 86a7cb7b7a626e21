import type { ManifestDocument } from '../../../schemas/image/image-endpoint.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import { isIndexType, isManifestType } from '../../../schemas/oci/media-types.ts';
import { type Manifest, parseIndex, parseManifest } from '../../../schemas/oci/types.ts';
import type { RegistryReader } from '../registry-reader.ts';
import { imageEntries } from '../resolve.ts';

/** Images of one index that are looked at. */
const MAX_PLATFORMS = 256;

/** The image manifests that a document is or lists, without those that the registry does not have. */
export async function manifestsUnder(
  reader: RegistryReader,
  name: string,
  root: ManifestDocument,
  signal: AbortSignal,
): Promise<readonly { readonly digest: Digest; readonly manifest: Manifest }[]> {
  if (isManifestType(root.mediaType)) return [{ digest: root.digest, manifest: parseManifest(root.bytes) }];
  if (!isIndexType(root.mediaType)) return [];
  const found: { digest: Digest; manifest: Manifest }[] = [];
  for (const { digest } of imageEntries(parseIndex(root.bytes)).slice(0, MAX_PLATFORMS)) {
    const document = await reader.manifest(name, digest, undefined, signal);
    if (document !== undefined) found.push({ digest, manifest: parseManifest(document.bytes) });
  }
  return found;
}
