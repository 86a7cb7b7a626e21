import { type Digest, digestOf } from '../oci/digest.ts';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';
import { TocError } from './error.ts';
import { decodeLayerToc, encodeLayerToc } from './layer-codec.ts';
import { decodeLayerContents, decodeLayerDigests } from './layer-contents.ts';
import type { LayerToc } from './layer-toc.ts';
import { TOC_LIMIT } from './limits.ts';

const MAGIC = Buffer.from('SLTI');
const VERSION = 1;

/**
 * The canonical bytes of an image's table: its layers' tables, the lowest first. Their sha256 is the ToC
 * digest in the annotation of a converted manifest.
 */
export function encodeImageToc(layers: readonly LayerToc[]): Uint8Array<ArrayBuffer> {
  return joinLayerTocs(layers.map(encodeLayerToc));
}

/** As {@link encodeImageToc}, of layers' tables that are encoded already. */
export function joinLayerTocs(encoded: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const total = encoded.reduce((sum, bytes) => sum + bytes.length, 0);
  if (encoded.length > TOC_LIMIT.layers) throw new TocError('limit', `${encoded.length} layers`);
  if (total > TOC_LIMIT.imageBytes) throw new TocError('limit', `a table of ${total} bytes`);
  const writer = new ByteWriter(16 + encoded.length * 4 + total);
  writer.bytes(MAGIC).u8(VERSION).varint(encoded.length);
  for (const bytes of encoded) writer.u32(bytes.length);
  for (const bytes of encoded) writer.bytes(bytes);
  return writer.finish();
}

/** The layers of an image's table, the lowest first. @throws {TocError} */
export function decodeImageToc(bytes: Uint8Array): LayerToc[] {
  return splitImageToc(bytes).map(decodeLayerToc);
}

/** Contents and payloads of the layers, the lowest first; rows are not looked at. @throws {TocError} */
export function decodeImageContents(bytes: Uint8Array): ReturnType<typeof decodeLayerContents>[] {
  return splitImageToc(bytes).map(decodeLayerContents);
}

/** The digests of the contents of each layer, 32 raw bytes each: views. @throws {TocError} */
export function decodeImageDigests(bytes: Uint8Array): Uint8Array[] {
  return splitImageToc(bytes).map(decodeLayerDigests);
}

/** The layers' tables in an image's, still encoded: views, not copies. @throws {TocError} */
export function splitImageToc(bytes: Uint8Array): Uint8Array[] {
  if (bytes.length > TOC_LIMIT.imageBytes) throw new TocError('limit', `a table of ${bytes.length} bytes`);
  const reader = new ByteReader(bytes, (fault, message) => new TocError(fault, message));
  if (!MAGIC.equals(reader.bytes(4)) || reader.u8() !== VERSION) {
    throw new TocError('version', 'not a table of contents of an image, version 1');
  }
  const lengths = Array.from({ length: reader.count(TOC_LIMIT.layers, 4) }, () => reader.u32());
  const layers = lengths.map((length) => reader.bytes(length));
  reader.end();
  return layers;
}

/** The ToC digest of an image, from the bytes of its table. */
export function tocDigestOf(encoded: Uint8Array): Digest {
  return digestOf(encoded);
}
