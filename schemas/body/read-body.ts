/**
 * A body as a whole, where a longer one is a fault.
 * @throws what `tooLarge` makes, as soon as more than `limitBytes` have come; what the body throws.
 */
export async function readWhole(
  body: AsyncIterable<Uint8Array>,
  limitBytes: number,
  tooLarge: () => Error,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > limitBytes) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** A body as text, cut after `limitBytes`: for answers of which only the beginning matters. */
export async function readStart(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  limitBytes: number,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of body) {
    sizeBytes += chunk.byteLength;
    chunks.push(chunk);
    if (sizeBytes >= limitBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, limitBytes).toString();
}
