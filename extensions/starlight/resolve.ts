import type { Digest } from '../../schemas/oci/digest.ts';
import { isIndexType, isManifestType } from '../../schemas/oci/media-types.ts';
import { formatPlatform, platformMatches } from '../../schemas/oci/platform.ts';
import {
  type Descriptor,
  DocumentError,
  type Index,
  type Platform,
  parseIndex,
} from '../../schemas/oci/types.ts';
import type { RawDocument } from './directory.ts';
import type { CallerAuthorization, RegistryReader } from './registry-reader.ts';
import { StarlightError } from './starlight-error.ts';

/** A repository of a registry, as one caller sees it. */
export interface CallerRepository {
  readonly reader: RegistryReader;
  readonly name: string;
  readonly auth: CallerAuthorization;
}

/** A repository as one caller sees it, with the key under which the directory has it. */
export interface IngestRepository extends CallerRepository {
  readonly registry: string;
}

/** What a tag or digest names: one image manifest, or an index of several. */
export type ResolvedRoot =
  | { readonly kind: 'manifest'; readonly manifest: RawDocument }
  | { readonly kind: 'index'; readonly document: RawDocument; readonly index: Index };

/**
 * Asks the registry, with the caller's rights, what `reference` (a tag or a digest) names.
 * @throws {StarlightError} `manifest-unknown`, or `not-converted` for what is neither manifest nor index.
 */
export async function resolveRoot(
  repository: CallerRepository,
  reference: string,
  signal: AbortSignal,
): Promise<ResolvedRoot> {
  const text = referenceText(repository.name, reference);
  const found = await repository.reader.manifest(repository.name, reference, repository.auth, signal);
  if (found === undefined) throw new StarlightError({ kind: 'manifest-unknown', reference: text });
  if (isManifestType(found.mediaType)) return { kind: 'manifest', manifest: found };
  if (!isIndexType(found.mediaType)) {
    const reason = `it is of type ${found.mediaType}`;
    throw new StarlightError({ kind: 'not-converted', reference: text, reason });
  }
  try {
    return { kind: 'index', document: found, index: parseIndex(found.bytes) };
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new StarlightError({ kind: 'registry', reason: error.message }, { cause: error });
  }
}

/** The image manifests of an index, without attestations (platform unknown/unknown) and nested indexes. */
export function imageEntries(index: Index): Descriptor[] {
  return index.manifests.filter(
    (entry) => isManifestType(entry.mediaType) && entry.platform?.os !== 'unknown',
  );
}

/**
 * The entry of an index for a platform: one that names its variant goes before one that merely does not
 * contradict it.
 * @throws {StarlightError} `platform-unknown`.
 */
export function entryFor(index: Index, wanted: Platform, reference: string): Descriptor {
  const entries = imageEntries(index);
  const matching = entries.filter(
    (entry) => entry.platform !== undefined && platformMatches(wanted, entry.platform),
  );
  const exact = matching.find((entry) => entry.platform?.variant === wanted.variant);
  const chosen = exact ?? matching[0];
  if (chosen !== undefined) return chosen;
  const offered = entries.flatMap((entry) =>
    entry.platform === undefined ? [] : [formatPlatform(entry.platform)],
  );
  throw new StarlightError({ kind: 'platform-unknown', reference, offered });
}

/** The manifest of that digest, which an index or the caller names. */
export async function manifestOf(
  repository: CallerRepository,
  digest: Digest,
  signal: AbortSignal,
): Promise<RawDocument> {
  const found = await repository.reader.manifest(repository.name, digest, repository.auth, signal);
  if (found === undefined || !isManifestType(found.mediaType)) {
    throw new StarlightError({ kind: 'manifest-unknown', reference: referenceText(repository.name, digest) });
  }
  return found;
}

/** `name:tag` or `name@digest`. */
export function referenceText(name: string, reference: string): string {
  return reference.includes(':') ? `${name}@${reference}` : `${name}:${reference}`;
}
