import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { isDigest } from '../../schemas/oci/digest.ts';
import { isIndexType, MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import { DocumentError, parseIndex, parseManifest, type Platform } from '../../schemas/oci/types.ts';
import type { RawDocument } from './directory.ts';
import { recognise } from './recognise.ts';
import { type CallerRepository, entryFor, manifestOf } from './resolve.ts';
import { StarlightError } from './starlight-error.ts';

/** Referrers that are looked at: a conversion leaves one. */
const MAX_REFERRERS = 4;

/** An image's conversion, with the index that lists it and refers to the original. */
export interface ConvertedTwin {
  readonly index: RawDocument;
  readonly manifest: RawDocument;
}

/**
 * What an image that is not converted was converted to, where the registry has a referrer that says so
 * (MEDIA_TYPE.starlightImage, see jobs/converted-referrer.ts). Whoever may push to the repository may push a referrer: it is believed
 * only of an image with the very same config, hence the same diffIDs, which ingest proves of its layers. So what is
 * given for a tag unpacks to what the tag names, to the bit.
 * @param root what the tag names; `original` the image of it for `platform`, or the same.
 * @returns undefined also for an original that is converted itself.
 */
export async function convertedTwin(
  repository: CallerRepository,
  root: RawDocument,
  original: RawDocument,
  platform: Platform,
  signal: AbortSignal,
): Promise<ConvertedTwin | undefined> {
  const config = unconvertedConfig(original);
  if (config === undefined) return undefined;
  const { reader, name, auth } = repository;
  const found = await reader.referrers(name, root.digest, MEDIA_TYPE.starlightImage, auth, signal);
  for (const { digest } of found.slice(0, MAX_REFERRERS)) {
    const index = await reader.manifest(name, digest, auth, signal);
    if (index === undefined || !isIndexType(index.mediaType)) continue;
    const manifest = await entryOf(repository, index, root, platform, signal);
    if (manifest === undefined) continue;
    const parsed = parseManifest(manifest.bytes);
    if (parsed.config.digest === config && isDigest(parsed.annotations?.[ANNOTATION.tocDigest])) {
      return { index, manifest };
    }
  }
  return undefined;
}

function unconvertedConfig(original: RawDocument): string | undefined {
  try {
    const manifest = parseManifest(original.bytes);
    return recognise(manifest).kind === 'not-converted' ? manifest.config.digest : undefined;
  } catch (error) {
    if (error instanceof DocumentError) return undefined; // ingest says what is wrong with it
    throw error;
  }
}

async function entryOf(
  repository: CallerRepository,
  document: RawDocument,
  root: RawDocument,
  platform: Platform,
  signal: AbortSignal,
): Promise<RawDocument | undefined> {
  try {
    const index = parseIndex(document.bytes);
    if (index.artifactType !== MEDIA_TYPE.starlightImage || index.subject?.digest !== root.digest)
      return undefined;
    return await manifestOf(repository, entryFor(index, platform, document.digest).digest, signal);
  } catch (error) {
    // A referrer that is no good is as none: the image is pulled the ordinary way.
    const missing =
      error instanceof StarlightError && /^(?:platform|manifest)-unknown$/.test(error.fault.kind);
    if (missing || error instanceof DocumentError) return undefined;
    throw error;
  }
}
