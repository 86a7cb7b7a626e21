import { type Digest, digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';

/** An image that a suite is told of instead of pushing one. */
export interface PreloadedImage {
  readonly tag: string;
  readonly tags: readonly string[];
  readonly manifestDigest: Digest;
  readonly blobDigest: Digest;
}

const TAGS = ['test0', 'test1', 'test2', 'test3', 'test4'] as const;

/** Pushes an image without layers under several tags. */
export async function preloadImage(url: string, name: string): Promise<PreloadedImage> {
  const config = Buffer.from(
    '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
  );
  const blobDigest = digestOf(config);
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config: { mediaType: MEDIA_TYPE.ociConfig, digest: blobDigest, size: config.byteLength },
    layers: [],
  });
  const begun = await must(fetch(`${url}/v2/${name}/blobs/uploads/`, { method: 'POST' }));
  const location = new URL(begun.headers.get('location') ?? '', url);
  location.searchParams.set('digest', blobDigest);
  const type = { 'Content-Type': 'application/octet-stream' };
  await must(fetch(location, { method: 'PUT', body: config, headers: type }));
  for (const tag of TAGS) {
    const headers = { 'Content-Type': MEDIA_TYPE.ociManifest };
    await must(fetch(`${url}/v2/${name}/manifests/${tag}`, { method: 'PUT', body: manifest, headers }));
  }
  return { tag: TAGS[0], tags: TAGS, manifestDigest: digestOf(manifest), blobDigest };
}

async function must(request: Promise<Response>): Promise<Response> {
  const response = await request;
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  return response;
}
