import { createHash, type Hash } from 'node:crypto';
import type { Digest } from '../oci/digest.ts';
import { LayerTocBuilder } from '../toc/builder.ts';
import { TocError } from '../toc/error.ts';
import { growing } from '../toc/growing.ts';
import { KIND } from '../toc/kind.ts';
import type { LayerToc } from '../toc/layer-toc.ts';
import { type EntryRow, rowOf } from './entry-row.ts';
import { ByteWindow } from './byte-window.ts';
import { type GzipMember, gunzipMembers } from './gzip-members.ts';
import { HiddenRun, hiddenPiece } from './hidden-members.ts';
import { SparseExpander, type SparseSink } from './sparse-file.ts';
import { LayerError } from './layer-error.ts';
import { LAYER_LIMIT } from './limits.ts';
import type { TarEntry } from './tar-entry.ts';
import type { TarSink } from './tar-parser.ts';

/** An entry with content whose bytes are arriving. */
interface OpenContent {
  readonly row: EntryRow | undefined;
  readonly hash: Hash;
  /** Of a sparse file, whose data are not its content. */
  readonly expander: SparseExpander | undefined;
  readonly sizeBytes: number;
  remainingBytes: number;
  payload: number;
  innerOffset: number;
  firstMember: number;
  /** In the tar stream. */
  readonly start: number;
}

/** In the columns of payloads: not a run of members of the tar stream. */
const HIDDEN = 0xffffffff;

const ZEROS = Buffer.alloc(64 * 1024);

class HashSink implements SparseSink {
  readonly #hash: Hash;

  constructor(hash: Hash) {
    this.#hash = hash;
  }

  data(bytes: Buffer): void {
    this.#hash.update(bytes);
  }

  zeros(countBytes: number): void {
    for (let rest = countBytes; rest > 0; rest -= ZEROS.length) this.#hash.update(ZEROS.subarray(0, rest));
  }
}

function noContent(): LayerError {
  return new LayerError('sparse', 'a sparse file whose content is nowhere in the layer as a run of bytes');
}

/**
 * Turns the entries of a tar into a table of contents, while gzip members are announced: a content's payload
 * is the run of members from the one that holds its first byte to the one that holds its last.
 */
export class TocSink implements TarSink {
  readonly #builder = new LayerTocBuilder();
  readonly #memberOffset = growing.f64();
  readonly #memberStart = growing.f64();
  readonly #payloadFirst = growing.u32();
  readonly #payloadLast = growing.u32();
  /** What a payload decompresses to is compared with its smallest content: see `seekable`. */
  readonly #payloadSmallest = growing.f64();
  readonly #contentStart = growing.f64();
  readonly #hidden = new Map<number, { readonly run: HiddenRun; readonly digest: Buffer }>();
  #hiddenBytes = 0;
  /** Of the sparse file that has just ended: its content may follow. */
  #run: HiddenRun | undefined;
  #position = 0;
  #open: OpenContent | undefined;

  constructor() {
    this.#memberOffset.push(0);
    this.#memberStart.push(0);
  }

  get memberCount(): number {
    return this.#memberOffset.length - 1;
  }

  /** Bytes of the tar stream so far. */
  get position(): number {
    return this.#position;
  }

  /** Where in the tar stream the output of the member at this offset of the blob begins, if there is one. */
  memberStartAt(offset: number): number | undefined {
    let low = 0;
    let high = this.memberCount - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const at = this.#memberOffset.at(middle);
      if (at === offset) return this.#memberStart.at(middle);
      if (at < offset) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  /** Where in the tar stream the content of the `index`th file that is not empty begins. */
  contentStart(index: number): number {
    return this.#contentStart.at(index);
  }

  member(member: GzipMember): void {
    if (this.#run !== undefined) {
      const piece = hiddenPiece(member);
      if (piece !== undefined) this.#addHidden(this.#run, member.offset, piece);
      else if (member.sizeBytes === 0 || this.#run.lengthBytes > 0) this.#run = undefined;
    }
    this.#memberOffset.push(member.offset + member.lengthBytes);
    // Not `position`: a member may end inside of a header block, whose first part the parser still holds back.
    this.#memberStart.push(this.#memberStart.at(this.memberCount - 1) + member.sizeBytes);
  }

  meta(bytes: Buffer): void {
    this.#position += bytes.length;
  }

  entry(entry: TarEntry): void {
    const row = rowOf(entry);
    this.#run = undefined;
    if (entry.sizeBytes === 0 && entry.sparse === undefined) {
      if (row !== undefined) this.#add(row);
      return;
    }
    const hash = createHash('sha256');
    const { sparse } = entry;
    this.#open = {
      row,
      hash,
      expander: sparse === undefined ? undefined : new SparseExpander(sparse, new HashSink(hash)),
      sizeBytes: sparse?.sizeBytes ?? entry.sizeBytes,
      remainingBytes: entry.sizeBytes,
      payload: 0,
      innerOffset: 0,
      firstMember: -1,
      start: this.#position,
    };
    // A sparse file that is one hole has no data.
    if (entry.sizeBytes === 0) this.#close(this.#open);
  }

  content(bytes: Buffer): void {
    const open = this.#open;
    if (open === undefined) throw new LayerError('tar', 'content without an entry');
    const member = this.memberCount;
    if (open.firstMember < 0) {
      open.firstMember = member;
      open.innerOffset = this.#position - this.#memberStart.at(member);
    }
    this.#position += bytes.length;
    if (open.expander === undefined) open.hash.update(bytes);
    else open.expander.push(bytes);
    open.remainingBytes -= bytes.length;
    if (open.remainingBytes === 0) this.#close(open);
  }

  #close(open: OpenContent): void {
    this.#open = undefined;
    open.expander?.end();
    const { row } = open;
    if (row === undefined) return;
    // A whiteout is one whatever its entry carries.
    if (row.kind !== KIND.file || open.sizeBytes === 0) this.#add(row);
    else this.#addFile(row, open, this.memberCount);
  }

  /**
   * The table, and whether every content can be had from the blob without decompressing much else.
   *
   * @param sizeBytes of the blob, which is one payload as a whole when it is not of gzip members.
   */
  finish(diffId: Digest, sizeBytes: number): { toc: LayerToc; seekable: boolean } {
    let seekable = this.memberCount > 0;
    if (this.memberCount === 0) {
      this.member({ offset: 0, lengthBytes: sizeBytes, sizeBytes: this.#position, extra: undefined });
    }
    for (let row = 0; row < this.#payloadFirst.length; row += 1) {
      const first = this.#payloadFirst.at(row);
      if (first === HIDDEN) {
        const { run } = this.#hidden.get(row) ?? {};
        if (run === undefined || run.lengthBytes === 0) throw noContent();
        this.#builder.addPayload(run.offset, run.lengthBytes);
        continue;
      }
      const next = this.#payloadLast.at(row) + 1;
      const offset = this.#memberOffset.at(first);
      const decompressedBytes = this.#memberStart.at(next) - this.#memberStart.at(first);
      if (decompressedBytes - this.#payloadSmallest.at(row) > LAYER_LIMIT.payloadSlackBytes) seekable = false;
      this.#builder.addPayload(offset, this.#memberOffset.at(next) - offset);
    }
    return { toc: this.#builder.finish(diffId), seekable };
  }

  /**
   * Reads the contents that were found beside the tar stream.
   *
   * @throws {LayerError} `toc-mismatch` when one is not that of its sparse file.
   */
  async verifyHidden(signal: AbortSignal): Promise<void> {
    for (const { run, digest } of this.#hidden.values()) {
      const hash = createHash('sha256');
      for await (const bytes of gunzipMembers(new ByteWindow(run.pieces, signal), () => {}))
        hash.update(bytes);
      if (!hash.digest().equals(digest)) {
        throw new LayerError('toc-mismatch', 'the content beside a sparse file is not that of the file');
      }
    }
  }

  #expectHidden(digest: Buffer): number {
    const run = new HiddenRun();
    this.#payloadFirst.push(HIDDEN);
    this.#payloadLast.push(HIDDEN);
    const payload = this.#payloadSmallest.push(0);
    this.#hidden.set(payload, { run, digest });
    this.#run = run;
    return payload;
  }

  #addHidden(run: HiddenRun, offset: number, piece: Buffer): void {
    run.add(offset, piece);
    this.#hiddenBytes += piece.length;
    if (this.#hiddenBytes > LAYER_LIMIT.hiddenBytes * 2) throw noContent();
  }

  #addFile(row: EntryRow, open: OpenContent, lastMember: number): void {
    const digest = open.hash.digest();
    const hidden = open.expander !== undefined;
    const payload = hidden
      ? this.#expectHidden(digest)
      : this.#payload(open.firstMember, lastMember, open.sizeBytes);
    const { sizeBytes } = open;
    const innerOffset = hidden ? 0 : open.innerOffset;
    this.#contentStart.push(open.start);
    this.#guard(row, () => {
      const content = this.#builder.addContent({ digest, sizeBytes, payload, innerOffset });
      this.#builder.add({ ...row, content });
    });
  }

  /** Contents come in the order of the tar, so a run of members used before was used just before. */
  #payload(first: number, last: number, sizeBytes: number): number {
    const latest = this.#payloadFirst.length - 1;
    if (latest >= 0 && this.#payloadFirst.at(latest) === first && this.#payloadLast.at(latest) === last) {
      this.#payloadSmallest.set(latest, Math.min(this.#payloadSmallest.at(latest), sizeBytes));
      return latest;
    }
    this.#payloadFirst.push(first);
    this.#payloadLast.push(last);
    return this.#payloadSmallest.push(sizeBytes);
  }

  #add(row: EntryRow): void {
    this.#guard(row, () => this.#builder.add(row));
  }

  #guard(row: EntryRow, add: () => void): void {
    try {
      add();
    } catch (error) {
      if (!(error instanceof TocError)) throw error;
      const path = JSON.stringify(Buffer.from(row.path).toString('utf8').slice(0, 200));
      const kind = error.kind === 'limit' ? 'limit' : 'tar';
      throw new LayerError(kind, `entry ${path}: ${error.message}`, { cause: error });
    }
  }
}
