import type { Digest } from '../../schemas/oci/digest.ts';
import { isIndexType, isManifestType, MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { type Descriptor, DocumentError, parseIndex, parseManifest } from '../../schemas/oci/types.ts';
import { RegistryError } from './registry-error.ts';

/** What a registry needs to know of a manifest. */
export interface ManifestFacts {
  readonly mediaType: string;
  /** Blobs that must be there before the manifest may be. */
  readonly blobs: readonly Digest[];
  /** What it refers to, where it is a referrer. */
  readonly subject?: Digest;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Reads an image manifest or index. Its type is what the client declared, and the `mediaType` in it, if any,
 * must say the same: a document that is one thing to one reader and another to the next is an attack.
 *
 * @throws {RegistryError} 'manifest-invalid'
 */
export function readManifest(bytes: Uint8Array, declaredType: string | undefined): ManifestFacts {
  try {
    const shape = topLevel(bytes);
    const own = typeof shape['mediaType'] === 'string' ? shape['mediaType'] : undefined;
    const isList = 'manifests' in shape;
    if (isList && 'layers' in shape) throw new DocumentError('manifest', 'it is both an image and an index');
    const mediaType = declaredType ?? own ?? (isList ? MEDIA_TYPE.ociIndex : MEDIA_TYPE.ociManifest);
    if (own !== undefined && own !== mediaType) {
      throw new DocumentError(
        'manifest',
        `its mediaType is not the Content-Type (${mediaType.slice(0, 120)})`,
      );
    }
    if (isList ? isManifestType(mediaType) : isIndexType(mediaType)) {
      throw new DocumentError('manifest', `it is not what ${mediaType} calls for`);
    }
    return isList ? ofIndex(bytes, mediaType) : ofImage(bytes, mediaType);
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new RegistryError({ kind: 'manifest-invalid', reason: error.message }, { cause: error });
  }
}

/** What a list of referrers says of a manifest (distribution-spec, "Listing Referrers"). */
export function referrerDescriptor(facts: ManifestFacts, digest: Digest, sizeBytes: number): Descriptor {
  const { mediaType, artifactType, annotations } = facts;
  return {
    mediaType,
    digest,
    size: sizeBytes,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function topLevel(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new DocumentError('manifest', 'not JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DocumentError('manifest', 'not a JSON object');
  }
  return value as Readonly<Record<string, unknown>>; // an object and no array
}

function ofImage(bytes: Uint8Array, mediaType: string): ManifestFacts {
  const manifest = parseManifest(bytes);
  const artifactType = manifest.artifactType || manifest.config.mediaType;
  return facts(mediaType, [manifest.config, ...manifest.layers], manifest, artifactType);
}

function ofIndex(bytes: Uint8Array, mediaType: string): ManifestFacts {
  const index = parseIndex(bytes);
  // Children may be missing: a copy of some platforms of an image is a good copy.
  return facts(mediaType, [], index, index.artifactType);
}

function facts(
  mediaType: string,
  needed: readonly Descriptor[],
  document: { readonly subject?: Descriptor; readonly annotations?: Readonly<Record<string, string>> },
  artifactType: string | undefined,
): ManifestFacts {
  return {
    mediaType,
    // A layer with urls of its own need not be here (image-spec, descriptor.md).
    blobs: needed.filter((one) => (one.urls?.length ?? 0) === 0).map((one) => one.digest),
    ...(document.subject === undefined ? {} : { subject: document.subject.digest }),
    ...(artifactType === undefined || artifactType === '' ? {} : { artifactType }),
    ...(document.annotations === undefined ? {} : { annotations: document.annotations }),
  };
}
