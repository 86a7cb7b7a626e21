import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { type OpenBundle, readBundle } from '../../../schemas/bundle/reader.ts';
import { type Digest, digestAt } from '../../../schemas/oci/digest.ts';
import { decodeImageToc } from '../../../schemas/toc/image-toc.ts';

const SIGNAL = new AbortController().signal;

export interface UnpackedBundle {
  readonly bundle: OpenBundle;
  /** Every content that came, in the order of sending, each found to have its digest. */
  readonly contents: ReadonlyMap<Digest, Buffer>;
  /** The tables of the images, unpacked, by ToC digest. */
  readonly tocs: ReadonlyMap<Digest, Uint8Array>;
}

/**
 * Reads a bundle as a worker does.
 * @throws {Error} when a content is not what its digest says.
 */
export async function unpackBundle(
  bytes: Uint8Array,
  known: ReadonlyMap<Digest, Uint8Array> = new Map(),
): Promise<UnpackedBundle> {
  const stream = (async function* () {
    yield bytes;
  })();
  const bundle = await readBundle(stream, { dictionary: (digest) => known.get(digest) }, SIGNAL);
  const payloads: Buffer[][] = [];
  for await (const { payload, bytes: part } of bundle.payloads()) {
    const parts = payloads[payload] ?? [];
    parts.push(Buffer.from(part));
    payloads[payload] = parts;
  }
  const layers = bundle.tocs.flatMap(decodeImageToc);
  const digests = layers.flatMap((layer) =>
    Array.from({ length: layer.contentCount }, (_, row) => ({
      digest: digestAt(layer.contents.digest, row),
      sizeBytes: layer.contents.sizeBytes[row] ?? 0,
    })),
  );
  const contents = new Map<Digest, Buffer>();
  const { files } = bundle.header;
  for (let row = 0; row < files.content.length; row++) {
    const content = digests[files.content[row] ?? 0];
    if (content === undefined) throw new Error(`file ${row} names no content`);
    const raw = gunzipSync(Buffer.concat(payloads[files.payload[row] ?? 0] ?? []));
    const start = files.innerOffset[row] ?? 0;
    const inside = raw.subarray(start, start + content.sizeBytes);
    const digest = `sha256:${createHash('sha256').update(inside).digest('hex')}`;
    if (digest !== content.digest) throw new Error(`file ${row} is ${digest}, not ${content.digest}`);
    if (contents.has(content.digest)) throw new Error(`${digest} is sent twice`);
    contents.set(content.digest, inside);
  }
  const tocs = new Map(
    bundle.header.tocs.map(({ tocDigest }, row) => [tocDigest, bundle.tocs[row] ?? new Uint8Array(0)]),
  );
  return { bundle, contents, tocs };
}
