import assert from 'node:assert/strict';
import { recognise } from '../../../extensions/starlight/recognise.ts';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import type { Descriptor, Manifest } from '../../../schemas/oci/types.ts';

const TOC = digestOf('toc');
const ESTARGZ = { annotations: { [ANNOTATION.estargzTocDigest]: digestOf('x') } };

function layer(change: Partial<Descriptor> = {}): Descriptor {
  return { mediaType: MEDIA_TYPE.ociLayerGzip, digest: digestOf('layer'), size: 1, ...change };
}

function manifest(layers: readonly Descriptor[], change: Partial<Manifest> = {}): Manifest {
  const config = { mediaType: MEDIA_TYPE.ociConfig, digest: digestOf('config'), size: 1 };
  return { schemaVersion: 2, config, layers: [...layers], ...change };
}

const BOUND = { annotations: { [ANNOTATION.tocDigest]: TOC } };
const CASES: readonly (readonly [what: string, manifest: Manifest, kind: string])[] = [
  ['one with its table named', manifest([layer()], BOUND), 'starlight'],
  ['one with Docker types', manifest([layer({ mediaType: MEDIA_TYPE.dockerLayerGzip })], BOUND), 'starlight'],
  ['one that is eStargz too', manifest([layer(ESTARGZ)], BOUND), 'starlight'],
  ['one without layers', manifest([], BOUND), 'starlight'],
  ['a foreign eStargz', manifest([layer(ESTARGZ), layer(ESTARGZ)]), 'estargz'],
  ['an ordinary one', manifest([layer()]), 'not-converted'],
  ['one without layers and annotation', manifest([]), 'not-converted'],
  ['one that is eStargz in part', manifest([layer(ESTARGZ), layer()]), 'not-converted'],
  [
    'a digest that is none',
    manifest([layer()], { annotations: { [ANNOTATION.tocDigest]: 'sha256:1' } }),
    'not-converted',
  ],
  ['a zstd layer', manifest([layer({ mediaType: MEDIA_TYPE.ociLayerZstd })], BOUND), 'not-converted'],
  ['an uncompressed layer', manifest([layer({ mediaType: MEDIA_TYPE.ociLayer })], BOUND), 'not-converted'],
  ['a layer that is none', manifest([layer({ mediaType: 'text/plain' })], BOUND), 'not-converted'],
  ['a sha512 layer', manifest([layer({ digest: digestOf('x', 'sha512') })], BOUND), 'not-converted'],
  [
    'an artifact',
    manifest([layer()], {
      ...BOUND,
      config: { mediaType: MEDIA_TYPE.ociEmpty, digest: digestOf('{}'), size: 2 },
    }),
    'not-converted',
  ],
];

describe('recognise()', () => {
  for (const [what, given, kind] of CASES) {
    it(`takes ${what} for ${kind}`, () => {
      assert.equal(recognise(given).kind, kind);
    });
  }
});
