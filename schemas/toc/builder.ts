import type { Digest } from '../oci/digest.ts';
import { TocError } from './error.ts';
import { GrowingBytes, growing } from './growing.ts';
import { KIND, KIND_COUNT, type Kind, NONE } from './kind.ts';
import { LayerToc, type Xattr } from './layer-toc.ts';
import { TOC_LIMIT } from './limits.ts';
import { checkPath } from './path.ts';
import { XattrSets } from './xattr-sets.ts';

/** One entry of a tar; what is left out is zero or empty. */
export interface TocEntry {
  readonly kind: Kind;
  /** As {@link checkPath} wants it; of a whiteout the path that it hides. */
  readonly path: Uint8Array;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtimeSec?: number;
  readonly mtimeNsec?: number;
  readonly devMajor?: number;
  readonly devMinor?: number;
  readonly link?: Uint8Array;
  readonly xattrs?: readonly Xattr[];
  /** What `addContent` returned; only of a file that is not empty. */
  readonly content?: number;
}

/** A content as it is met in the layer. */
export interface TocContent {
  /** sha256, 32 raw bytes. */
  readonly digest: Uint8Array;
  /** At least 1: the empty file has no content. */
  readonly sizeBytes: number;
  /** What `addPayload` returned, or will return: it need not be known yet. */
  readonly payload: number;
  readonly innerOffset: number;
}

/**
 * Makes the table of one layer from its tar entries, in their order. The result does not depend on how the
 * caller numbered payloads: they come out in the order of their first use, unused ones dropped.
 *
 * @example
 * const builder = new LayerTocBuilder();
 * const content = builder.addContent({ digest, sizeBytes: 3, payload: 0, innerOffset: 0 });
 * builder.add({ kind: KIND.file, path: Buffer.from('etc/motd'), mode: 0o644, content });
 * builder.addPayload(0, 120);
 * const toc = builder.finish(diffId);
 */
export class LayerTocBuilder {
  readonly #kind = growing.u8();
  readonly #path = new GrowingBytes();
  readonly #mode = growing.u16();
  readonly #uid = growing.u32();
  readonly #gid = growing.u32();
  readonly #mtimeSec = growing.f64();
  readonly #mtimeNsec = growing.u32();
  readonly #devMajor = growing.u32();
  readonly #devMinor = growing.u32();
  readonly #link = new GrowingBytes();
  readonly #xattr = growing.u32();
  readonly #xattrSets = new XattrSets();
  readonly #content = growing.u32();
  readonly #contentRows = new Map<string, number>();
  readonly #contents: TocContent[] = [];
  readonly #payloads: { offset: number; length: number }[] = [];

  get rowCount(): number {
    return this.#kind.length;
  }

  /** The row of a content; of one with a digest already added, the first. @throws {TocError} */
  addContent(content: TocContent): number {
    if (content.digest.length !== 32) throw new TocError('malformed', 'a digest that is not 32 bytes');
    within('size of a content', content.sizeBytes, 1, TOC_LIMIT.magnitude);
    within('inner offset', content.innerOffset, 0, TOC_LIMIT.magnitude);
    const key = Buffer.from(content.digest).toString('latin1');
    const known = this.#contentRows.get(key);
    if (known !== undefined) return known;
    this.#contentRows.set(key, this.#contents.length);
    return this.#contents.push({ ...content, digest: Buffer.from(content.digest) }) - 1;
  }

  /** The row of a byte range of the layer blob: one or several whole gzip members. @throws {TocError} */
  addPayload(offset: number, length: number): number {
    within('offset of a payload', offset, 0, TOC_LIMIT.magnitude);
    within('length of a payload', length, 1, TOC_LIMIT.magnitude);
    return this.#payloads.push({ offset, length }) - 1;
  }

  /** Appends a row and returns its number. @throws {TocError} */
  add(entry: TocEntry): number {
    this.#check(entry);
    const row = this.#kind.push(entry.kind);
    this.#path.push(entry.path);
    this.#mode.push(entry.mode ?? 0);
    this.#uid.push(entry.uid ?? 0);
    this.#gid.push(entry.gid ?? 0);
    this.#mtimeSec.push(entry.mtimeSec ?? 0);
    this.#mtimeNsec.push(entry.mtimeNsec ?? 0);
    this.#devMajor.push(entry.devMajor ?? 0);
    this.#devMinor.push(entry.devMinor ?? 0);
    this.#link.push(entry.link ?? new Uint8Array(0));
    this.#xattr.push(this.#xattrSets.row(entry.xattrs ?? []));
    this.#content.push(entry.content ?? NONE);
    return row;
  }

  /** @throws {TocError} when a content names a payload that was never added. */
  finish(diffId: Digest): LayerToc {
    if (!/^sha256:[0-9a-f]{64}$/.test(diffId)) throw new TocError('malformed', 'a diffID that is no sha256');
    const { content, used } = this.#contentsByFirstUse();
    const payloadRows = new Map<number, number>();
    const payload = used.map((one) => {
      if (this.#payloads[one.payload] === undefined)
        throw new TocError('malformed', `no payload ${one.payload}`);
      const row = payloadRows.get(one.payload) ?? payloadRows.size;
      payloadRows.set(one.payload, row);
      return row;
    });
    const payloads = [...payloadRows.keys()].map((old) => this.#payloads[old]);
    const digest = new Uint8Array(used.length * 32);
    for (const [row, one] of used.entries()) digest.set(one.digest, row * 32);
    return new LayerToc({
      diffId,
      kind: this.#kind.finish(),
      path: this.#path.finish(),
      mode: this.#mode.finish(),
      uid: this.#uid.finish(),
      gid: this.#gid.finish(),
      mtimeSec: this.#mtimeSec.finish(),
      mtimeNsec: this.#mtimeNsec.finish(),
      devMajor: this.#devMajor.finish(),
      devMinor: this.#devMinor.finish(),
      link: this.#link.finish(),
      xattr: this.#xattr.finish(),
      xattrSets: this.#xattrSets.finish(),
      content,
      contents: {
        digest,
        sizeBytes: Float64Array.from(used, (one) => one.sizeBytes),
        payload: Uint32Array.from(payload),
        innerOffset: Float64Array.from(used, (one) => one.innerOffset),
      },
      payloads: {
        offset: Float64Array.from(payloads, (one) => one?.offset ?? 0),
        length: Float64Array.from(payloads, (one) => one?.length ?? 0),
      },
    });
  }

  #contentsByFirstUse(): { content: Uint32Array; used: TocContent[] } {
    const content = this.#content.finish();
    const rows = new Uint32Array(this.#contents.length).fill(NONE);
    const used: TocContent[] = [];
    for (const [row, old] of content.entries()) {
      const one = this.#contents[old];
      if (one === undefined) continue;
      if (rows[old] === NONE) rows[old] = used.push(one) - 1;
      content[row] = rows[old] ?? NONE;
    }
    return { content, used };
  }

  #check(entry: TocEntry): void {
    const { kind, path, content, link } = entry;
    if (this.rowCount >= TOC_LIMIT.rows) throw new TocError('limit', `more than ${TOC_LIMIT.rows} entries`);
    if (!(kind >= 0 && kind < KIND_COUNT)) throw new TocError('malformed', `kind ${kind}`);
    checkPath(path, 0, path.length);
    checkRootKind(kind, path.length);
    if (this.#path.byteLength + path.length > TOC_LIMIT.allPathsBytes) throw new TocError('limit', 'paths');
    within('mode', entry.mode ?? 0, 0, 0o7777);
    within('uid', entry.uid ?? 0, 0, 0xffffffff);
    within('gid', entry.gid ?? 0, 0, 0xffffffff);
    within('mtime', entry.mtimeSec ?? 0, -TOC_LIMIT.magnitude, TOC_LIMIT.magnitude);
    within('nanoseconds of the mtime', entry.mtimeNsec ?? 0, 0, 999_999_999);
    const device = kind === KIND.chardev || kind === KIND.blockdev;
    within('device number', entry.devMajor ?? 0, 0, device ? 0xffffffff : 0);
    within('device number', entry.devMinor ?? 0, 0, device ? 0xffffffff : 0);
    checkLink(kind, link ?? new Uint8Array(0));
    if (content !== undefined && content !== NONE && (kind !== KIND.file || !(content in this.#contents))) {
      throw new TocError('malformed', `content ${content} of a row of kind ${kind}`);
    }
  }
}

/** The root is a directory, and may be opaque. @throws {TocError} */
export function checkRootKind(kind: number, pathLength: number): void {
  if (pathLength === 0 && kind !== KIND.directory && kind !== KIND.opaque) {
    throw new TocError('malformed', 'an entry without a name that is no directory');
  }
}

/** @throws {TocError} unless links, and nothing else, have a target that is fit. */
export function checkLink(kind: number, link: Uint8Array): void {
  if (kind !== KIND.symlink && kind !== KIND.hardlink) {
    if (link.length > 0) throw new TocError('malformed', `a target of a row of kind ${kind}`);
    return;
  }
  if (link.length > TOC_LIMIT.linkBytes) throw new TocError('limit', `a target of ${link.length} bytes`);
  if (link.length === 0 || link.includes(0))
    throw new TocError('malformed', 'an empty target, or one with a NUL');
  if (kind === KIND.hardlink) checkPath(link, 0, link.length);
}

function within(what: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value)) throw new TocError('malformed', `${what}: ${value}`);
  if (value < min || value > max)
    throw new TocError('limit', `${what}: ${value}, not within ${min} and ${max}`);
}
