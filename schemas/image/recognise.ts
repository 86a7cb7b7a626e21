import { ANNOTATION } from '../oci/annotations.ts';
import { layerCompression, MEDIA_TYPE } from '../oci/media-types.ts';
import type { Manifest } from '../oci/types.ts';

/**
 * What a manifest is to a converter: an image to convert, one that is converted already (by us, or eStargz
 * throughout), or something that is passed on as it is, for the reason given.
 */
export type Recognised =
  | { readonly kind: 'image' }
  | { readonly kind: 'converted' }
  | { readonly kind: 'other'; readonly reason: string };

const CONFIGS: ReadonlySet<string> = new Set([MEDIA_TYPE.ociConfig, MEDIA_TYPE.dockerConfig]);

/** @param wantEstargz whether what we have converted without eStargz is to be converted again. */
export function recognise(manifest: Manifest, wantEstargz: boolean): Recognised {
  if (manifest.artifactType !== undefined || !CONFIGS.has(manifest.config.mediaType)) {
    return { kind: 'other', reason: 'no image' };
  }
  // An attestation has an image's config, and layers that are statements.
  const foreign = manifest.layers.find((layer) => layerCompression(layer.mediaType) === undefined);
  if (foreign !== undefined) return { kind: 'other', reason: `a layer of type ${foreign.mediaType}` };
  if (manifest.layers.length === 0) return { kind: 'other', reason: 'no layers' };
  const estargz = manifest.layers.every(
    (layer) =>
      layerCompression(layer.mediaType) === 'gzip' &&
      layer.annotations?.[ANNOTATION.estargzTocDigest] !== undefined,
  );
  const ours = manifest.annotations?.[ANNOTATION.tocDigest] !== undefined;
  return { kind: estargz || (ours && !wantEstargz) ? 'converted' : 'image' };
}
