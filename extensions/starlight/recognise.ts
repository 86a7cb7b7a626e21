import { ANNOTATION } from '../../schemas/oci/annotations.ts';
import { type Digest, isDigest } from '../../schemas/oci/digest.ts';
import { layerCompression, MEDIA_TYPE } from '../../schemas/oci/media-types.ts';
import type { Manifest } from '../../schemas/oci/types.ts';

/** What a manifest says of itself; whether it is true is found out by reading its layers. */
export type Recognition =
  /** Converted by this project: its table of contents must have this digest. */
  | { readonly kind: 'starlight'; readonly tocDigest: Digest }
  /** Every layer is eStargz: usable as it is, but nothing in the manifest binds our table of contents. */
  | { readonly kind: 'estargz' }
  | { readonly kind: 'not-converted'; readonly reason: string };

const IMAGE_CONFIGS: readonly string[] = [MEDIA_TYPE.ociConfig, MEDIA_TYPE.dockerConfig];

export function recognise(manifest: Manifest): Recognition {
  if (!IMAGE_CONFIGS.includes(manifest.config.mediaType)) {
    return no(`it is no image but an artifact with a config of type ${manifest.config.mediaType}`);
  }
  const foreign = manifest.layers.find((layer) => layerCompression(layer.mediaType) !== 'gzip');
  if (foreign !== undefined) return no(`layer ${foreign.digest} is of type ${foreign.mediaType}, not gzip`);
  const odd = manifest.layers.find((layer) => !layer.digest.startsWith('sha256:'));
  if (odd !== undefined) return no(`layer ${odd.digest} is not named by a sha256`);

  const annotated = manifest.annotations?.[ANNOTATION.tocDigest];
  if (annotated !== undefined) {
    if (!isDigest(annotated)) return no(`its annotation ${ANNOTATION.tocDigest} is not a digest`);
    return { kind: 'starlight', tocDigest: annotated };
  }
  const plain = manifest.layers.find(
    (layer) => layer.annotations?.[ANNOTATION.estargzTocDigest] === undefined,
  );
  if (manifest.layers.length > 0 && plain === undefined) return { kind: 'estargz' };
  return no('neither the manifest names a table of contents, nor are all its layers eStargz');
}

function no(reason: string): Recognition {
  return { kind: 'not-converted', reason };
}
