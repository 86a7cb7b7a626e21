import { type Digest, Digester } from '../oci/digest.ts';
import type { LayerCompression } from '../oci/media-types.ts';
import type { LayerToc } from '../toc/layer-toc.ts';
import type { ByteSource } from './byte-window.ts';
import { openLayer } from './decompress.ts';
import { EstargzCheck } from './estargz-check.ts';
import { TarParser } from './tar-parser.ts';
import { TocSink } from './toc-sink.ts';

/** All that reading a layer blob once, from its first byte to its last, tells about it. */
export interface ScannedLayer {
  readonly toc: LayerToc;
  readonly diffId: Digest;
  readonly layerDigest: Digest;
  /** Of the blob. */
  readonly sizeBytes: number;
  /** Of the tar stream in it. */
  readonly tarSizeBytes: number;
  readonly compression: LayerCompression;
  /** 0 when the layer is not gzip. */
  readonly memberCount: number;
  /**
   * Every content can be had by a range of the blob that holds little else (`payloadSlackBytes`). If not, the
   * table of contents is right all the same, but its payloads are large parts of the layer, or no gzip.
   */
  readonly seekable: boolean;
  /** Of an eStargz layer: the digest of its own table of contents, which was found to say the same. */
  readonly estargz: { readonly tocDigest: Digest } | undefined;
}

/**
 * Reads a layer: gzip of any framing (ours, eStargz, plain), zstd or an uncompressed tar. Of the same blob
 * always the same table of contents, hence a converter and whoever scans its layers later agree by
 * construction. In an eStargz layer the table of contents and the landmarks are hidden, as
 * stargz-snapshotter hides them.
 *
 * @throws {LayerError} when the blob, its tar or a path in it is unfit, and `toc-mismatch` when an eStargz
 * layer's table of contents disagrees with its tar: a lazy reader would see another image than an ordinary one.
 */
export async function scanLayer(blob: ByteSource, signal: AbortSignal): Promise<ScannedLayer> {
  const layerDigester = new Digester();
  const diffDigester = new Digester();
  const estargz = new EstargzCheck();
  const sink = new TocSink();
  const parser = new TarParser({
    meta: (bytes) => sink.meta(bytes),
    entry: (entry) => {
      estargz.entry(entry, sink.position);
      sink.entry(entry);
    },
    content: (bytes) => {
      estargz.content(bytes);
      sink.content(bytes);
    },
  });
  const opened = await openLayer(blob, signal, {
    onBytes: (bytes) => layerDigester.update(bytes),
    onMember: (member) => {
      estargz.member(member);
      sink.member(member);
    },
  });
  for await (const bytes of opened.tar) {
    diffDigester.update(bytes);
    parser.push(bytes);
  }
  parser.end();
  const diffId = diffDigester.digest();
  const { sizeBytes } = layerDigester;
  const memberCount = sink.memberCount;
  const { toc, seekable } = sink.finish(diffId, sizeBytes);
  await sink.verifyHidden(signal);
  const checked = estargz.finish(toc, sink);
  return {
    toc: checked?.visible ?? toc,
    diffId,
    layerDigest: layerDigester.digest(),
    sizeBytes,
    tarSizeBytes: diffDigester.sizeBytes,
    compression: opened.compression,
    memberCount,
    seekable,
    estargz: checked === undefined ? undefined : { tocDigest: checked.tocDigest },
  };
}
