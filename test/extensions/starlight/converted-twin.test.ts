import assert from 'node:assert/strict';
import { convertedTwin } from '../../../extensions/starlight/converted-twin.ts';
import type { RegistryReader } from '../../../extensions/starlight/registry-reader.ts';
import { ANNOTATION } from '../../../schemas/oci/annotations.ts';
import { digestOf } from '../../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../../schemas/oci/media-types.ts';
import type { Descriptor } from '../../../schemas/oci/types.ts';
import { document, type MadeDocument } from './made-image.ts';

const SIGNAL = new AbortController().signal;
const AMD64 = { os: 'linux', architecture: 'amd64' };
const ARM64 = { os: 'linux', architecture: 'arm64' };

const descriptor = ({ mediaType, digest, bytes }: MadeDocument): Descriptor => ({
  mediaType,
  digest,
  size: bytes.length,
});
const blob = (text: string, mediaType: string): Descriptor => ({
  mediaType,
  digest: digestOf(text),
  size: 9,
});
/** A manifest of the image with this config, converted or not. */
const manifestOf = (
  config: string,
  converted: boolean,
  mediaType: string = MEDIA_TYPE.ociManifest,
): MadeDocument =>
  document(mediaType, {
    schemaVersion: 2,
    mediaType,
    config: blob(config, MEDIA_TYPE.ociConfig),
    layers: [blob(`${config} layer, ${converted}`, MEDIA_TYPE.ociLayerGzip)],
    ...(converted ? { annotations: { [ANNOTATION.tocDigest]: digestOf('toc') } } : {}),
  });
const original = manifestOf('config', false);
const converted = manifestOf('config', true);

interface Fields {
  readonly subject?: MadeDocument;
  readonly artifactType?: string;
  readonly manifests?: readonly (readonly [MadeDocument, object])[];
}
const referrer = ({
  subject = original,
  artifactType = MEDIA_TYPE.starlightImage,
  manifests = [[converted, AMD64]],
}: Fields = {}): MadeDocument =>
  document(MEDIA_TYPE.ociIndex, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociIndex,
    artifactType,
    subject: descriptor(subject),
    manifests: manifests.map(([made, platform]) => ({ ...descriptor(made), platform })),
  });

/** A repository with these documents, of which `referrers` are listed for everything. */
function readerOf(documents: readonly MadeDocument[], referrers: readonly MadeDocument[]): RegistryReader {
  return {
    manifest: async (_name, reference) =>
      [...documents, ...referrers].find(({ digest }) => digest === reference),
    blob: async () => undefined,
    referrers: async () => referrers.map(descriptor),
  };
}
const twinOf = (
  documents: readonly MadeDocument[],
  referrers: readonly MadeDocument[],
  root = original,
  image = root,
  platform = AMD64,
) => {
  const repository = { reader: readerOf(documents, referrers), name: 'team/app', auth: undefined };
  return convertedTwin(repository, root, image, platform, SIGNAL);
};

describe('convertedTwin()', () => {
  it('finds what an image was converted to', async () => {
    const index = referrer();
    const twin = await twinOf([converted], [index]);
    assert.deepEqual([twin?.index.digest, twin?.manifest.digest], [index.digest, converted.digest]);
  });

  it('finds the image for the platform among those of an index', async () => {
    const arm = manifestOf('arm config', false);
    const armConverted = manifestOf('arm config', true);
    const root = document(MEDIA_TYPE.ociIndex, { schemaVersion: 2, manifests: [] });
    const index = referrer({
      subject: root,
      manifests: [
        [converted, AMD64],
        [armConverted, ARM64],
      ],
    });
    const twin = await twinOf([converted, armConverted], [index], root, arm, ARM64);
    assert.equal(twin?.manifest.digest, armConverted.digest);
  });

  it('asks for nothing where the image is converted itself', async () => {
    assert.equal(await twinOf([converted], [referrer({ subject: converted })], converted), undefined);
  });

  const evil = manifestOf('another config', true);
  const REFUSED: readonly (readonly [
    what: string,
    documents: readonly MadeDocument[],
    index: MadeDocument,
  ])[] = [
    // Whoever may push to a repository whose tags are immutable may still push referrers.
    ['another image', [evil], referrer({ manifests: [[evil, AMD64]] })],
    ['an image that is not converted', [original], referrer({ manifests: [[original, AMD64]] })],
    ['a referrer of something else', [converted], referrer({ subject: evil })],
    ['a referrer of another type', [converted], referrer({ artifactType: 'application/x' })],
    ['another platform', [converted], referrer({ manifests: [[converted, ARM64]] })],
    ['an image that is gone', [], referrer()],
    ['a list that is none', [converted], document(MEDIA_TYPE.ociIndex, { schemaVersion: 2 })],
    ['a referrer that is no index', [converted], manifestOf('x', true)],
  ];
  for (const [what, documents, index] of REFUSED) {
    it(`does not believe ${what}`, async () => {
      assert.equal(await twinOf(documents, [index]), undefined);
    });
    it(`does not believe ${what}, and finds a good one beside it`, async () => {
      assert.equal(
        (await twinOf([...documents, converted], [index, referrer()]))?.manifest.digest,
        converted.digest,
      );
    });
  }
});
