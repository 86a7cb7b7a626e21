import { readWhole } from '../../schemas/body/read-body.ts';
import { RegistryError } from './registry-error.ts';

/** The specification asks registries to take manifests of at least this. */
export const MAX_MANIFEST_BYTES = 4 << 20;

/** Reads a manifest that is pushed. @throws {RegistryError} 'manifest-too-large' as soon as it is known. */
export async function readManifestBody(
  body: AsyncIterable<Uint8Array>,
  contentLength: string | undefined,
  limitBytes: number,
): Promise<Uint8Array> {
  const tooLarge = () => new RegistryError({ kind: 'manifest-too-large', limitBytes });
  if (Number(contentLength ?? 0) > limitBytes) throw tooLarge();
  return await readWhole(body, limitBytes, tooLarge);
}
