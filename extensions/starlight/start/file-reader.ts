import { Semaphore } from '../../../schemas/concurrency/semaphore.ts';
import { ByteWindow } from '../../../schemas/layer/byte-window.ts';
import { gunzipMembers } from '../../../schemas/layer/gzip-members.ts';
import { LayerError } from '../../../schemas/layer/layer-error.ts';
import type { Digest } from '../../../schemas/oci/digest.ts';
import type { LayerToc } from '../../../schemas/toc/layer-toc.ts';
import { NONE, type Tree } from '../../../schemas/toc/tree.ts';
import type { CallerRepository } from '../resolve.ts';
import type { ReadableFile } from './elf.ts';
import { START_LIMIT } from './limits.ts';

/** A merged image whose layers can be read by range. */
export interface ReadableImage {
  readonly tree: Tree;
  /** The lowest first. */
  readonly layers: readonly { readonly digest: Digest; readonly toc: LayerToc }[];
}

/**
 * Reads files of an image out of its layers' blobs, each by one range request for the payload that carries it,
 * with the caller's rights. What is read is not verified: it has a say in the order of files alone.
 */
export class FileReader {
  readonly #repository: CallerRepository;
  readonly #image: ReadableImage;
  readonly #signal: AbortSignal;
  readonly #slots = new Semaphore(START_LIMIT.atOnce);

  /** Whatever is open when `signal` aborts is let go of. */
  constructor(repository: CallerRepository, image: ReadableImage, signal: AbortSignal) {
    this.#repository = repository;
    this.#image = image;
    this.#signal = signal;
  }

  /** What has to be inflated to read the file of an inode once. */
  costBytes(inode: number): number {
    const { tree, layers } = this.#image;
    const content = tree.content[inode] ?? NONE;
    if (content === NONE) return 0;
    const contents = layers[tree.contentLayer[content] ?? 0]?.toc.contents;
    const before = contents?.innerOffset[tree.contentRow[content] ?? 0] ?? 0;
    return before + (tree.contentSize[content] ?? 0);
  }

  /**
   * Lends the file of an inode to `look`. A file that is empty or damaged has no bytes that can be read.
   * @throws {RegistryReadError}
   */
  async look<T>(inode: number, look: (file: ReadableFile) => Promise<T>): Promise<T> {
    const { tree } = this.#image;
    const content = tree.content[inode] ?? NONE;
    const sizeBytes = content === NONE ? 0 : (tree.contentSize[content] ?? 0);
    return await this.#slots.run(async () => {
      await using file = new OpenFile(sizeBytes, (signal) => this.#bytes(content, signal), this.#signal);
      return await look(file);
    }, this.#signal);
  }

  /** The content from its first byte on, as it is inflated. */
  async *#bytes(content: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
    const { tree, layers } = this.#image;
    const layer = layers[tree.contentLayer[content] ?? 0];
    const row = tree.contentRow[content] ?? 0;
    if (layer === undefined) return;
    const { contents, payloads } = layer.toc;
    const payload = contents.payload[row] ?? 0;
    const range = { offset: payloads.offset[payload] ?? 0, length: payloads.length[payload] ?? 0 };
    const { reader, name, auth } = this.#repository;
    const blob = await reader.blob(name, layer.digest, range, auth, signal);
    if (blob === undefined) throw new Error(`layer ${layer.digest} has gone from ${name}`);
    let skip = contents.innerOffset[row] ?? 0;
    for await (const bytes of gunzipMembers(new ByteWindow(blob.bytes, signal), () => undefined)) {
      if (bytes.length > skip) yield bytes.subarray(skip);
      skip = Math.max(0, skip - bytes.length);
    }
  }
}

/** A file read forwards. Its first `heldBytes` are kept; what lies behind is read again where it has gone by. */
class OpenFile implements ReadableFile, AsyncDisposable {
  readonly sizeBytes: number;
  readonly #open: (signal: AbortSignal) => AsyncGenerator<Uint8Array, void>;
  readonly #signal: AbortSignal;
  readonly #head: Uint8Array[] = [];
  #headBytes = 0;
  #reading: { readonly bytes: AsyncGenerator<Uint8Array, void>; readonly end: AbortController } | undefined;
  /** What the reading has given and nobody has taken yet, and where it begins. */
  #left: Uint8Array = new Uint8Array(0);
  #position = 0;
  #passes = 0;

  constructor(
    sizeBytes: number,
    open: (signal: AbortSignal) => AsyncGenerator<Uint8Array, void>,
    signal: AbortSignal,
  ) {
    this.sizeBytes = sizeBytes;
    this.#open = open;
    this.#signal = signal;
  }

  async read(offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    const end = offset + lengthBytes;
    if (!(offset >= 0 && lengthBytes >= 0 && end <= this.sizeBytes)) return undefined;
    try {
      while (this.#headBytes < Math.min(end, START_LIMIT.heldBytes))
        if (!(await this.#advance())) return undefined;
      if (end <= this.#headBytes) {
        const head = Buffer.concat(this.#head);
        this.#head.splice(0, this.#head.length, head);
        return head.subarray(offset, end);
      }
      return await this.#behindHead(offset, lengthBytes);
    } catch (error) {
      // Damaged: a fault of this file, which was nevertheless proven at ingest. Everything else is told.
      if (error instanceof LayerError) return undefined;
      throw error;
    }
  }

  async #behindHead(offset: number, lengthBytes: number): Promise<Uint8Array | undefined> {
    if (offset < this.#position) await this.#close();
    const out = Buffer.alloc(lengthBytes);
    let filled = 0;
    while (filled < lengthBytes) {
      if (this.#position + this.#left.length <= offset + filled) {
        if (!(await this.#advance())) return undefined;
        continue;
      }
      const bytes = this.#left.subarray(offset + filled - this.#position).subarray(0, lengthBytes - filled);
      out.set(bytes, filled);
      filled += bytes.length;
    }
    return out;
  }

  /** Takes the next piece. False at the end, and where the file was read too often. */
  async #advance(): Promise<boolean> {
    if (this.#reading === undefined) {
      if (this.#passes >= START_LIMIT.passes) return false;
      this.#passes += 1;
      const end = new AbortController();
      this.#reading = { bytes: this.#open(AbortSignal.any([this.#signal, end.signal])), end };
    }
    this.#signal.throwIfAborted();
    const next = await this.#reading.bytes.next();
    if (next.done === true) return false;
    this.#position += this.#left.length;
    this.#left = next.value;
    if (this.#position === this.#headBytes && this.#headBytes < START_LIMIT.heldBytes) {
      this.#head.push(next.value);
      this.#headBytes += next.value.length;
    }
    return true;
  }

  async #close(): Promise<void> {
    const reading = this.#reading;
    this.#reading = undefined;
    this.#left = new Uint8Array(0);
    this.#position = 0;
    if (reading === undefined) return;
    reading.end.abort();
    await reading.bytes.return().catch(() => undefined); // it was let go of by the signal
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
