import { RegistryError } from '../registry-error.ts';

/** Reads a small body whole. @throws {RegistryError} 'manifest-too-large' as soon as it is known. */
export async function readManifestBody(
  body: AsyncIterable<Uint8Array>,
  contentLength: string | undefined,
  limitBytes: number,
): Promise<Uint8Array> {
  if (Number(contentLength ?? 0) > limitBytes)
    throw new RegistryError({ kind: 'manifest-too-large', limitBytes });
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > limitBytes) throw new RegistryError({ kind: 'manifest-too-large', limitBytes });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
