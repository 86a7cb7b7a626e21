import type { ByteSource } from './byte-window.ts';
import { gzipMember } from './gzip-writer.ts';
import { hideMembers } from './hidden-members.ts';
import { LayerError } from './layer-error.ts';
import { LAYER_LIMIT } from './limits.ts';
import { DEFAULT_FRAMING, type Framing, MemberPlanner, type PlannedPart } from './member-planner.ts';
import { TarParser } from './tar-parser.ts';

export interface SeekableLayerOptions {
  readonly framing?: Framing;
}

/** Members that are being compressed, or wait for an earlier one: by count, and what they are made of. */
const MAX_QUEUED_MEMBERS = 64;
const MAX_QUEUED_BYTES = 16 * 1024 * 1024;

/**
 * A tar stream as a layer whose files can be had by ranges: gzip members cut at the files' boundaries, while
 * what they decompress to is the stream bit for bit. Depends on nothing but the stream (and zlib's version):
 * members are compressed side by side, and come out in order.
 *
 * @throws {LayerError} when the tar is damaged.
 */
export async function* writeSeekableLayer(
  tar: ByteSource,
  signal: AbortSignal,
  options: SeekableLayerOptions = {},
): AsyncGenerator<Buffer, void> {
  const planner = new MemberPlanner(options.framing ?? DEFAULT_FRAMING);
  const parser = new TarParser(planner);
  const queue = new MemberQueue<'hidden' | 'hidden-end'>();
  const hidden = new HiddenSeries();
  const next = async (): Promise<Buffer> => {
    const { member, tag } = await queue.next();
    if (tag === undefined) return member;
    return tag === 'hidden' ? hidden.add(member) : hidden.end();
  };
  for await (const bytes of tar) {
    signal.throwIfAborted();
    parser.push(bytes);
    for (const part of planner.take()) {
      while (queue.full) yield* filled(await next());
      enqueue(queue, part);
    }
  }
  parser.end();
  planner.end();
  for (const part of planner.take()) enqueue(queue, part);
  while (queue.length > 0) yield* filled(await next());
}

function* filled(bytes: Buffer): Generator<Buffer, void> {
  if (bytes.length > 0) yield bytes;
}

function enqueue(queue: MemberQueue<'hidden' | 'hidden-end'>, part: PlannedPart): void {
  switch (part.kind) {
    case 'member':
      queue.add(part.bytes);
      break;
    case 'hidden':
      queue.add(part.bytes, 'hidden');
      break;
    case 'hidden-zeros':
      queue.add(Buffer.alloc(part.countBytes), 'hidden');
      break;
    case 'hidden-end':
      queue.add(NOTHING, 'hidden-end');
      break;
    default:
      part satisfies never;
  }
}

const NOTHING = Buffer.alloc(0);

/** Keeps a sparse file's compressed content until what it is to stand behind has been written. */
class HiddenSeries {
  #members: Buffer[] = [];
  #layerBytes = 0;

  add(member: Buffer): Buffer {
    this.#members.push(member);
    this.#layerBytes += member.length;
    if (this.#layerBytes > LAYER_LIMIT.hiddenBytes) {
      throw new LayerError('sparse', 'the sparse files of a layer are too large');
    }
    return NOTHING;
  }

  end(): Buffer {
    const series = hideMembers(this.#members);
    this.#members = [];
    return series;
  }
}

/** Compresses members at once, and hands them out in the order in which they were added. */
export class MemberQueue<T = undefined> {
  readonly #queue: { member: Promise<Buffer>; sizeBytes: number; tag: T | undefined }[] = [];
  #sizeBytes = 0;

  get length(): number {
    return this.#queue.length;
  }

  get full(): boolean {
    return this.#queue.length >= MAX_QUEUED_MEMBERS || this.#sizeBytes >= MAX_QUEUED_BYTES;
  }

  add(part: Buffer, tag?: T): void {
    const member = gzipMember(part);
    member.catch(() => {}); // whoever takes it hears of it; nobody does after an abort
    this.#queue.push({ member, sizeBytes: part.length, tag });
    this.#sizeBytes += part.length;
  }

  /** The oldest. @throws {RangeError} when there is none. */
  async next(): Promise<{ member: Buffer; tag: T | undefined }> {
    const first = this.#queue[0];
    if (first === undefined) throw new RangeError('nothing queued');
    const member = await first.member;
    this.#queue.shift();
    this.#sizeBytes -= first.sizeBytes;
    return { member, tag: first.tag };
  }
}
