import { createHash, type Hash } from 'node:crypto';
import { type Digest, digestOf } from '../oci/digest.ts';
import { rowOf } from './entry-row.ts';
import { ESTARGZ_NAME, ESTARGZ_TYPE, type EstargzEntry } from './estargz-toc.ts';
import { LayerError } from './layer-error.ts';
import type { TarEntry } from './tar-entry.ts';
import type { TarSink } from './tar-parser.ts';

/** As stargz-snapshotter's own converter cuts large files. */
const CHUNK_BYTES = 4 * 1024 * 1024;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A part that becomes a gzip member, with the entry of the table whose chunk it begins with. */
export interface EstargzPart {
  readonly bytes: Buffer;
  readonly chunk: Mutable<EstargzEntry> | undefined;
}

const RESERVED: ReadonlySet<string> = new Set(Object.values(ESTARGZ_NAME));

/**
 * Cuts a tar stream as eStargz wants it: a member begins at the first byte of each content and each chunk of
 * it, and goes on over padding and headers to the next. Collects the table of contents, but for the offsets.
 * The end of the archive is left away: the table comes behind the last entry.
 */
export class EstargzPlanner implements TarSink {
  readonly entries: Mutable<EstargzEntry>[] = [];
  #parts: EstargzPart[] = [];
  #pieces: Buffer[] = [];
  #sizeBytes = 0;
  #chunk: Mutable<EstargzEntry> | undefined;
  #ended = false;
  #file: { entry: Mutable<EstargzEntry>; hash: Hash; remainingBytes: number } | undefined;
  #chunkHash = createHash('sha256');

  meta(bytes: Buffer): void {
    if (this.#ended) return;
    this.#pieces.push(bytes);
    this.#sizeBytes += bytes.length;
    if (this.#sizeBytes >= CHUNK_BYTES * 2) this.#cut();
  }

  /** @throws {LayerError} `unsupported` or `sparse` for what an eStargz layer cannot hold. */
  entry(entry: TarEntry): void {
    if (entry.sparse !== undefined)
      throw new LayerError('sparse', 'a sparse file in a layer that is to become eStargz');
    const described = describe(entry);
    this.entries.push(described);
    if (entry.type !== 'file') return;
    if (entry.sizeBytes === 0) {
      described.digest = digestOf('');
      return;
    }
    this.#beginFile(described, entry.sizeBytes);
  }

  /** The landmark, whose header has been given, and whose content follows. */
  landmark(sizeBytes: number): void {
    const described: Mutable<EstargzEntry> = { name: ESTARGZ_NAME.noPrefetch, type: 'reg', mode: 0o644 };
    this.entries.push(described);
    this.#beginFile(described, sizeBytes);
  }

  content(bytes: Buffer): void {
    const file = this.#file;
    if (file === undefined) throw new LayerError('tar', 'content without an entry');
    file.hash.update(bytes);
    for (let at = 0; at < bytes.length; ) {
      if (this.#sizeBytes === CHUNK_BYTES) {
        const chunk: EstargzEntry = { name: file.entry.name, type: 'chunk' };
        this.entries.push(chunk);
        this.#beginChunk(chunk, (file.entry.size ?? 0) - file.remainingBytes, file.remainingBytes);
      }
      const piece = bytes.subarray(at, at + CHUNK_BYTES - this.#sizeBytes);
      this.#chunkHash.update(piece);
      this.#pieces.push(piece);
      this.#sizeBytes += piece.length;
      file.remainingBytes -= piece.length;
      at += piece.length;
    }
    if (file.remainingBytes > 0) return;
    this.#endChunk();
    file.entry.digest = sha256(file.hash);
    this.#file = undefined;
  }

  archiveEnd(): void {
    this.#ended = true;
  }

  end(): void {
    this.#cut();
  }

  /** The parts that are complete, each given once. */
  take(): EstargzPart[] {
    return this.#parts.splice(0);
  }

  #beginFile(entry: Mutable<EstargzEntry>, sizeBytes: number): void {
    entry.size = sizeBytes;
    this.#file = { entry, hash: createHash('sha256'), remainingBytes: sizeBytes };
    this.#beginChunk(entry, 0, sizeBytes);
  }

  #beginChunk(chunk: Mutable<EstargzEntry>, offset: number, remainingBytes: number): void {
    if (offset > 0) this.#endChunk();
    this.#cut();
    this.#chunk = chunk;
    this.#digested = chunk;
    if (offset > 0) chunk.chunkOffset = offset;
    if (remainingBytes >= CHUNK_BYTES) chunk.chunkSize = CHUNK_BYTES;
    this.#chunkHash = createHash('sha256');
  }

  #digested: Mutable<EstargzEntry> | undefined;

  #endChunk(): void {
    if (this.#digested !== undefined) this.#digested.chunkDigest = sha256(this.#chunkHash);
  }

  #cut(): void {
    if (this.#sizeBytes > 0) this.#parts.push({ bytes: Buffer.concat(this.#pieces), chunk: this.#chunk });
    this.#pieces = [];
    this.#sizeBytes = 0;
    this.#chunk = undefined;
  }
}

function sha256(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}` as Digest; // what a sha256 gives
}

function text(bytes: Buffer): string {
  const utf8 = bytes.toString('utf8');
  if (Buffer.from(utf8).equals(bytes)) return utf8;
  throw new LayerError('unsupported', 'a name that is not UTF-8, which eStargz cannot say');
}

function describe(entry: TarEntry): Mutable<EstargzEntry> {
  if (RESERVED.has(rowOf(entry)?.path.toString() ?? '')) {
    throw new LayerError('unsupported', `${entry.name.toString()}: a name that eStargz keeps for itself`);
  }
  const described: Mutable<EstargzEntry> = { name: text(entry.name), type: ESTARGZ_TYPE[entry.type] };
  const seconds = entry.mtimeSec + (entry.mtimeNsec >= 500_000_000 ? 1 : 0);
  const modtime = new Date(seconds * 1000);
  if (Number.isNaN(modtime.getTime()) || modtime.getUTCFullYear() > 9999 || modtime.getUTCFullYear() < 0) {
    throw new LayerError('unsupported', 'a time that eStargz cannot say');
  }
  if (seconds !== 0) described.modtime = modtime.toISOString().replace('.000Z', 'Z');
  if (entry.type === 'symlink' || entry.type === 'hardlink') described.linkName = text(entry.linkName);
  if (entry.mode !== 0) described.mode = entry.mode;
  if (entry.uid !== 0) described.uid = entry.uid;
  if (entry.gid !== 0) described.gid = entry.gid;
  if (entry.devMajor !== 0) described.devMajor = entry.devMajor;
  if (entry.devMinor !== 0) described.devMinor = entry.devMinor;
  if (entry.xattrs.length > 0) {
    described.xattrs = Object.fromEntries(
      entry.xattrs.map(([name, value]) => [text(name), value.toString('base64')]),
    );
  }
  return described;
}
