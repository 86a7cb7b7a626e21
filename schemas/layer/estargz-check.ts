import { type Digest, digestOf } from '../oci/digest.ts';
import { LayerTocBuilder } from '../toc/builder.ts';
import { NONE } from '../toc/kind.ts';
import type { LayerToc } from '../toc/layer-toc.ts';
import { type EntryRow, rowOf } from './entry-row.ts';
import { parseEstargzFooter } from './estargz-footer.ts';
import { claimedEntry, ESTARGZ_NAME, type EstargzEntry, parseEstargzToc } from './estargz-toc.ts';
import type { GzipMember } from './gzip-members.ts';
import { LayerError } from './layer-error.ts';
import { LAYER_LIMIT } from './limits.ts';
import type { TarEntry } from './tar-entry.ts';
import { BLOCK_BYTES } from './tar-header.ts';
import type { TocSink } from './toc-sink.ts';

const HIDDEN: ReadonlySet<string> = new Set(Object.values(ESTARGZ_NAME));

export interface CheckedEstargz {
  /** sha256 of the table of contents as it stands in the layer. */
  readonly tocDigest: Digest;
  /** The layer's table without what eStargz added. */
  readonly visible: LayerToc;
}

/**
 * Follows a scan, and proves of an eStargz layer that its table of contents, which lazy readers go by, and
 * its tar, which everybody else goes by, say the same: every entry, its metadata, its content's digest, and
 * where each chunk lies.
 */
export class EstargzCheck {
  #toc: Buffer[] | undefined;
  #tocRemainingBytes = 0;
  #tocHeaderAt = -1;
  #lastExtra: Buffer | undefined;

  /** @param position in the tar stream, behind the entry's headers. */
  entry(entry: TarEntry, position: number): void {
    if (entry.type !== 'file' || entry.sizeBytes > LAYER_LIMIT.estargzTocBytes) return;
    if (rowOf(entry)?.path.toString() !== ESTARGZ_NAME.toc) return;
    this.#toc = [];
    this.#tocRemainingBytes = entry.sizeBytes;
    this.#tocHeaderAt = position - BLOCK_BYTES;
  }

  content(bytes: Buffer): void {
    if (this.#tocRemainingBytes === 0) return;
    this.#toc?.push(Buffer.from(bytes));
    this.#tocRemainingBytes -= bytes.length;
  }

  member(member: GzipMember): void {
    this.#lastExtra = member.sizeBytes === 0 ? member.extra : undefined;
  }

  /** Nothing when the layer is no eStargz. @throws {LayerError} `toc-mismatch` */
  finish(toc: LayerToc, sink: TocSink): CheckedEstargz | undefined {
    const tocOffset = this.#lastExtra === undefined ? undefined : parseEstargzFooter(this.#lastExtra);
    if (tocOffset === undefined) return undefined;
    if (this.#toc === undefined || sink.memberStartAt(tocOffset) !== this.#tocHeaderAt) {
      throw new LayerError('toc-mismatch', 'the footer does not point at a table of contents of the tar');
    }
    const bytes = Buffer.concat(this.#toc);
    compare(parseEstargzToc(bytes), toc, sink);
    return { tocDigest: digestOf(bytes), visible: withoutHidden(toc) };
  }
}

function mismatch(row: number, what: string): LayerError {
  return new LayerError('toc-mismatch', `table of contents and tar disagree at entry ${row}: ${what}`);
}

/** @throws {LayerError} `toc-mismatch` at the first difference. */
function compare(entries: readonly EstargzEntry[], toc: LayerToc, sink: TocSink): void {
  let row = 0;
  /** Of the file whose chunks are expected. */
  let file = { start: 0, coveredBytes: 0, sizeBytes: 0, name: '' };
  let files = 0;
  for (const entry of entries) {
    if (entry.type !== 'chunk') {
      if (file.coveredBytes !== file.sizeBytes) throw mismatch(row, 'chunks are missing');
      const claimed = rowOf(claimedEntry({ ...entry, type: entry.type }));
      if (claimed === undefined) continue;
      compareRow(claimed, toc, row);
      const content = toc.content[row] ?? NONE;
      row += 1;
      if (content === NONE) {
        if (entry.type === 'reg' && (entry.size ?? 0) !== 0) throw mismatch(row - 1, 'size');
        continue;
      }
      const sizeBytes = toc.contents.sizeBytes[content] ?? 0;
      if (entry.size !== sizeBytes) throw mismatch(row - 1, 'size');
      if (entry.digest !== toc.digestOfContent(content)) throw mismatch(row - 1, 'digest');
      file = { start: sink.contentStart(files), coveredBytes: 0, sizeBytes, name: entry.name };
      files += 1;
    } else if (entry.name !== file.name) {
      throw mismatch(row, 'a chunk of another file');
    }
    const at = entry.chunkOffset ?? 0;
    const start = sink.memberStartAt(entry.offset ?? 0);
    if (at !== file.coveredBytes || start === undefined) throw mismatch(row, 'a chunk at another place');
    if (start + (entry.innerOffset ?? 0) !== file.start + at) throw mismatch(row, 'the offset of a chunk');
    // Size zero: to the end of the file.
    file.coveredBytes += entry.chunkSize || file.sizeBytes - at;
    if (file.coveredBytes > file.sizeBytes) throw mismatch(row, 'the size of a chunk');
  }
  if (file.coveredBytes !== file.sizeBytes) throw mismatch(row, 'chunks are missing');
  const own = Buffer.from(toc.pathAt(row)).toString() === ESTARGZ_NAME.toc;
  if (row !== toc.rowCount - 1 || !own) throw mismatch(row, 'the tar holds other entries');
}

function compareRow(claimed: EntryRow, toc: LayerToc, row: number): void {
  if (row >= toc.rowCount) throw mismatch(row, 'the tar holds fewer entries');
  // A table of contents in JSON cannot say a name that is not UTF-8; such a layer cannot be proven sound.
  if (Buffer.compare(claimed.path, toc.pathAt(row)) !== 0) throw mismatch(row, 'name');
  if (claimed.kind !== toc.kindAt(row)) throw mismatch(row, 'type');
  if (Buffer.compare(claimed.link, toc.linkAt(row)) !== 0) throw mismatch(row, 'link target');
  for (const field of ['mode', 'uid', 'gid', 'devMajor', 'devMinor'] as const) {
    if (claimed[field] !== toc[field][row]) throw mismatch(row, field);
  }
  // Rounded to seconds; and a time within the first second after the epoch is left out.
  const mtime = (toc.mtimeSec[row] ?? 0) + (toc.mtimeNsec[row] ?? 0) / 1e9;
  if (Math.abs(claimed.mtimeSec - mtime) >= 1) throw mismatch(row, 'mtime');
  const sorted = [...claimed.xattrs].sort(([a], [b]) => Buffer.compare(a, b));
  const actual = toc.xattrsAt(row);
  const same =
    sorted.length === actual.length &&
    sorted.every(([name, value], i) => {
      const other = actual[i];
      return other !== undefined && !Buffer.compare(name, other[0]) && !Buffer.compare(value, other[1]);
    });
  if (!same) throw mismatch(row, 'xattrs');
}

function withoutHidden(toc: LayerToc): LayerToc {
  const builder = new LayerTocBuilder();
  for (let row = 0; row < toc.payloadCount; row += 1) {
    builder.addPayload(toc.payloads.offset[row] ?? 0, toc.payloads.length[row] ?? 0);
  }
  for (let row = 0; row < toc.contentCount; row += 1) {
    builder.addContent({
      digest: toc.contents.digest.subarray(row * 32, row * 32 + 32),
      sizeBytes: toc.contents.sizeBytes[row] ?? 0,
      payload: toc.contents.payload[row] ?? 0,
      innerOffset: toc.contents.innerOffset[row] ?? 0,
    });
  }
  for (let row = 0; row < toc.rowCount; row += 1) {
    const path = toc.pathAt(row);
    if (HIDDEN.has(Buffer.from(path).toString('latin1'))) continue;
    builder.add({
      kind: toc.kindAt(row),
      path,
      mode: toc.mode[row] ?? 0,
      uid: toc.uid[row] ?? 0,
      gid: toc.gid[row] ?? 0,
      mtimeSec: toc.mtimeSec[row] ?? 0,
      mtimeNsec: toc.mtimeNsec[row] ?? 0,
      devMajor: toc.devMajor[row] ?? 0,
      devMinor: toc.devMinor[row] ?? 0,
      link: toc.linkAt(row),
      xattrs: toc.xattrsAt(row),
      content: toc.content[row] ?? NONE,
    });
  }
  return builder.finish(toc.diffId);
}
