import { readWhole } from '../body/read-body.ts';
import { Digester, digestAlgorithm, digestOf, type Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/types.ts';
import { ImageError } from './image-error.ts';

function mismatch(expected: Digest, reason: string): ImageError {
  return new ImageError({ kind: 'digest-mismatch', expected }, `${expected}: ${reason}`);
}

/** Passes a blob on, and fails before its end when it is not the one described. */
export async function* verified(
  blob: AsyncIterable<Uint8Array>,
  descriptor: Descriptor,
): AsyncGenerator<Uint8Array, void> {
  const digester = new Digester(digestAlgorithm(descriptor.digest));
  /** Held back until what follows is known: the last piece goes out only when the whole is good. */
  let held: Uint8Array | undefined;
  for await (const bytes of blob) {
    digester.update(bytes);
    if (digester.sizeBytes > descriptor.size) throw mismatch(descriptor.digest, 'longer than announced');
    if (held !== undefined) yield held;
    held = bytes;
  }
  if (digester.sizeBytes < descriptor.size) {
    throw mismatch(descriptor.digest, `cut off after ${digester.sizeBytes} of ${descriptor.size} bytes`);
  }
  if (digester.digest() !== descriptor.digest) throw mismatch(descriptor.digest, 'other bytes');
  if (held !== undefined) yield held;
}

/** @throws {ImageError} `digest-mismatch` */
export function verifyBytes(bytes: Uint8Array, expected: Digest): void {
  if (digestOf(bytes, digestAlgorithm(expected)) !== expected) throw mismatch(expected, 'other bytes');
}

/** A document as a whole. @throws {ImageError} `malformed` above `limitBytes` */
export async function readAll(
  blob: AsyncIterable<Uint8Array>,
  limitBytes: number,
  what: string,
): Promise<Buffer> {
  const message = `${what} is larger than ${limitBytes} bytes`;
  return await readWhole(blob, limitBytes, () => new ImageError({ kind: 'malformed', what }, message));
}
