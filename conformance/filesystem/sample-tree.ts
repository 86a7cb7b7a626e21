import { LayerTocBuilder, type TocEntry } from '../../schemas/toc/builder.ts';
import { KIND } from '../../schemas/toc/kind.ts';
import { mergeLayers } from '../../schemas/toc/merge.ts';
import type { Digest } from '../../schemas/oci/digest.ts';
import type { Tree } from '../../schemas/toc/tree.ts';
import { sha256 } from './sample-content.ts';

const DIFF_ID = `sha256:${'0'.repeat(64)}` as Digest;

/** An entry of a sample tree: names as text (UTF-8) or raw bytes, a file with the bytes it holds. */
export type SampleEntry = Omit<TocEntry, 'path' | 'link' | 'content' | 'xattrs'> & {
  readonly path: string | Uint8Array;
  readonly link?: string | Uint8Array;
  readonly bytes?: Uint8Array;
  readonly xattrs?: Readonly<Record<string, Uint8Array>>;
};

/** The tree of one layer with these entries, made by the project's own builder and merger. */
export function sampleTree(entries: Iterable<SampleEntry>): Tree {
  const builder = new LayerTocBuilder();
  const payload = builder.addPayload(0, 1);
  for (const { path, link, bytes, xattrs, ...rest } of entries) {
    const content =
      bytes === undefined || bytes.length === 0
        ? {}
        : {
            content: builder.addContent({
              digest: Buffer.from(sha256(bytes).slice(7), 'hex'),
              sizeBytes: bytes.length,
              payload,
              innerOffset: 0,
            }),
          };
    builder.add({
      ...rest,
      ...content,
      path: Buffer.from(path),
      ...(link === undefined ? {} : { link: Buffer.from(link) }),
      ...(xattrs === undefined
        ? {}
        : { xattrs: Object.entries(xattrs).map(([name, value]) => [Buffer.from(name), value] as const) }),
    });
  }
  return mergeLayers([builder.finish(DIFF_ID)]);
}

export function file(
  path: string | Uint8Array,
  bytes: Uint8Array,
  rest: Partial<SampleEntry> = {},
): SampleEntry {
  return { kind: KIND.file, path, bytes, mode: 0o644, mtimeSec: 1_600_000_000, ...rest };
}

export function directory(path: string | Uint8Array, rest: Partial<SampleEntry> = {}): SampleEntry {
  return { kind: KIND.directory, path, mode: 0o755, mtimeSec: 1_600_000_000, ...rest };
}
