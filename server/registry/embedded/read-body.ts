import { readWhole } from '../../../schemas/body/read-body.ts';
import { RegistryError } from '../registry-error.ts';

/** Reads a small body whole. @throws {RegistryError} 'manifest-too-large' as soon as it is known. */
export async function readManifestBody(
  body: AsyncIterable<Uint8Array>,
  contentLength: string | undefined,
  limitBytes: number,
): Promise<Uint8Array> {
  const tooLarge = () => new RegistryError({ kind: 'manifest-too-large', limitBytes });
  if (Number(contentLength ?? 0) > limitBytes) throw tooLarge();
  return await readWhole(body, limitBytes, tooLarge);
}
