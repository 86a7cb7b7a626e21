import { createHash } from 'node:crypto';
import type { Digest } from '../../schemas/oci/digest.ts';
import { LayerTocBuilder, type TocEntry } from '../../schemas/toc/builder.ts';
import { KIND, type KindName } from '../../schemas/toc/kind.ts';
import type { LayerToc } from '../../schemas/toc/layer-toc.ts';

/** An entry of a layer to be made for a test: kind, path, and what is not as usual. */
export type LayerEntry = readonly [
  kind: KindName,
  path: string | Uint8Array,
  rest?: Omit<TocEntry, 'kind' | 'path' | 'content' | 'link' | 'xattrs'> & {
    /** The text of a file; its digest is the true one. */
    readonly content?: string;
    readonly link?: string | Uint8Array;
    readonly xattrs?: Readonly<Record<string, string>>;
    /** What the file shares its payload with; a payload of its own if left out. */
    readonly payload?: number;
    readonly innerOffset?: number;
    /** Length of the payload; 100 if left out. */
    readonly payloadLength?: number;
  },
];

const MODE: Readonly<Partial<Record<KindName, number>>> = { directory: 0o755, symlink: 0o777 };

/** The table of a layer with these entries; payloads follow each other, with a gap of 20 bytes between them. */
export function layerOf(entries: readonly LayerEntry[], name = 'layer'): LayerToc {
  const builder = new LayerTocBuilder();
  let offset = 0;
  let payloads = 0;
  for (const [kind, path, rest = {}] of entries) {
    const { content: text, link, xattrs, payload, innerOffset, payloadLength, ...plain } = rest;
    let content: number | undefined;
    if (text !== undefined && text !== '') {
      if (payload === undefined || payload >= payloads) {
        builder.addPayload(offset, payloadLength ?? 100);
        offset += (payloadLength ?? 100) + 20;
        payloads += 1;
      }
      content = builder.addContent({
        digest: createHash('sha256').update(text).digest(),
        sizeBytes: Buffer.byteLength(text),
        payload: payload ?? payloads - 1,
        innerOffset: innerOffset ?? 0,
      });
    }
    builder.add({
      kind: KIND[kind],
      path: Buffer.from(path),
      mode: MODE[kind] ?? 0o644,
      ...plain,
      ...(content === undefined ? {} : { content }),
      ...(link === undefined ? {} : { link: Buffer.from(link) }),
      ...(xattrs === undefined
        ? {}
        : {
            xattrs: Object.entries(xattrs).map(
              ([key, value]) => [Buffer.from(key), Buffer.from(value)] as const,
            ),
          }),
    });
  }
  return builder.finish(`sha256:${createHash('sha256').update(name).digest('hex')}` as Digest);
}
