import type { LayerToc } from '../schemas/toc/layer-toc.ts';
import { KIND } from '../schemas/toc/kind.ts';

/** What a table in the manner of eStargz says of an entry. */
interface Entry {
  readonly name: string;
  readonly type: string;
  readonly size?: number;
  readonly modtime: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly digest?: string;
  readonly offset?: number;
}

/** The same rows as eStargz writes them: one JSON object per entry, a table per layer. */
export function estargzJson(layers: readonly LayerToc[]): string[] {
  return layers.map((toc) => {
    const entries = Array.from({ length: toc.rowCount }, (_, row): Entry => {
      const content = toc.content[row] ?? 0;
      const file = toc.kind[row] === KIND.file;
      return {
        name: `${Buffer.from(toc.pathAt(row)).toString()}${file ? '' : '/'}`,
        type: file ? 'reg' : 'dir',
        modtime: new Date((toc.mtimeSec[row] ?? 0) * 1000).toISOString(),
        mode: toc.mode[row] ?? 0,
        uid: 0,
        gid: 0,
        ...(file
          ? {
              size: toc.contents.sizeBytes[content] ?? 0,
              digest: toc.digestOfContent(content),
              offset: toc.payloads.offset[toc.contents.payload[content] ?? 0] ?? 0,
            }
          : {}),
      };
    });
    return JSON.stringify({ version: 1, entries });
  });
}

/** Parses tables, merges their layers in a Map by path. */
export function mergeJson(tables: readonly string[]): Map<string, Entry> {
  const merged = new Map<string, Entry>();
  for (const table of tables) {
    const { entries } = JSON.parse(table) as { entries: Entry[] }; // written by estargzJson
    for (const entry of entries) merged.set(entry.name, entry);
  }
  return merged;
}

/** The digests of files that `wanted` has and `held` has not, and the rest of the answer as JSON. */
export function deltaJson(wanted: Map<string, Entry>, held: Map<string, Entry>): string {
  const had = new Set([...held.values()].map((entry) => entry.digest));
  const missing = new Map<string, Entry>();
  for (const entry of wanted.values()) {
    if (entry.digest !== undefined && !had.has(entry.digest)) missing.set(entry.digest, entry);
  }
  const sequence = [...missing.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return JSON.stringify({ tree: [...wanted.values()], send: sequence });
}
