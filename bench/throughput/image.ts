import { createHash, randomBytes } from 'node:crypto';

/** An image of one layer that no compression makes smaller. */
export interface BenchImage {
  readonly blob: Buffer;
  readonly blobDigest: string;
  readonly config: Buffer;
  readonly configDigest: string;
  readonly manifest: Buffer;
}

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json';

export function benchImage(blobBytes: number): BenchImage {
  const blob = randomBytes(blobBytes);
  const blobDigest = digestOf(blob);
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [blobDigest] },
    }),
  );
  const configDigest = digestOf(config);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: configDigest,
        size: config.length,
      },
      layers: [
        { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: blobDigest, size: blob.length },
      ],
    }),
  );
  return { blob, blobDigest, config, configDigest, manifest };
}

/** Pushes it as `bench:1`. @throws {Error} where the registry refuses. */
export async function push(registry: string, image: BenchImage): Promise<void> {
  const base = `http://${registry}/v2/bench`;
  for (const [digest, bytes] of [
    [image.blobDigest, image.blob],
    [image.configDigest, image.config],
  ] as const) {
    const begun = await accepted(await fetch(`${base}/blobs/uploads/`, { method: 'POST' }));
    const url = new URL(begun.headers.get('location') ?? '', base);
    url.searchParams.set('digest', digest);
    const type = { 'content-type': 'application/octet-stream' };
    await accepted(await fetch(url, { method: 'PUT', headers: type, body: Uint8Array.from(bytes) }));
  }
  await accepted(
    await fetch(`${base}/manifests/1`, {
      method: 'PUT',
      headers: { 'content-type': MANIFEST_TYPE },
      body: Uint8Array.from(image.manifest),
    }),
  );
}

async function accepted(answer: Response): Promise<Response> {
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status} ${await answer.text()}`);
  await answer.arrayBuffer();
  return answer;
}

function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
