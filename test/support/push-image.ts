import { digestOf } from '../../schemas/oci/digest.ts';
import { MEDIA_TYPE } from '../../schemas/oci/media-types.ts';

/** An image as it lies in a registry. Its layers are what they are: no tar streams. */
export interface PushedImage {
  readonly manifest: Buffer;
  /** The config first, then the layers. */
  readonly blobs: readonly Buffer[];
}

/** Pushes one blob over HTTP. @throws {Error} where the registry at `host` refuses. */
export async function pushBlob(host: string, name: string, bytes: Buffer): Promise<void> {
  const base = `http://${host}/v2/${name}/blobs/uploads/`;
  const begun = await accepted(fetch(base, { method: 'POST' }));
  const url = new URL(begun.headers.get('location') ?? '', base);
  url.searchParams.set('digest', digestOf(bytes));
  await accepted(fetch(url, { method: 'PUT', body: new Uint8Array(bytes) }));
}

/** Pushes an image of these blobs, the config first, over HTTP. @throws {Error} where the registry refuses. */
export async function pushImage(
  host: string,
  name: string,
  tag: string,
  blobs: readonly Buffer[],
): Promise<PushedImage> {
  for (const bytes of blobs) await pushBlob(host, name, bytes);
  const [config, ...layers] = blobs.map((bytes, at) => ({
    mediaType: at === 0 ? MEDIA_TYPE.ociConfig : MEDIA_TYPE.ociLayer,
    digest: digestOf(bytes),
    size: bytes.length,
  }));
  const document = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers };
  const manifest = Buffer.from(JSON.stringify(document));
  const headers = { 'Content-Type': MEDIA_TYPE.ociManifest };
  const url = `http://${host}/v2/${name}/manifests/${tag}`;
  await accepted(fetch(url, { method: 'PUT', headers, body: new Uint8Array(manifest) }));
  return { manifest, blobs };
}

async function accepted(asked: Promise<Response>): Promise<Response> {
  const answer = await asked;
  const text = await answer.text();
  if (answer.status !== 201 && answer.status !== 202)
    throw new Error(`${answer.url}: ${answer.status} ${text}`);
  return answer;
}
