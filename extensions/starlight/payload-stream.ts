import { coalesce, type RangeRequest } from './coalesce.ts';
import { type PayloadPlan, type PayloadSource, type Piece, piecesFrom } from './payload-plan.ts';
import type { BlobRange, RegistryBlob } from './registry-reader.ts';
import { Semaphore } from '../../schemas/concurrency/semaphore.ts';
import { StarlightError } from './starlight-error.ts';

/** Bounds of one stream of payloads. */
export const STREAM_LIMIT = {
  /** What the first window holds, so that the first bytes leave soon; each next one holds twice as much … */
  firstWindowBytes: 256 * 1024,
  /** … up to this. A payload larger than this is a window of its own and is not held, but passed on as it comes. */
  windowBytes: 4 * 1024 * 1024,
  /** Windows that are fetched while an earlier one is being sent. */
  windowsAhead: 2,
  /** Range requests of one stream at once. */
  requestsAtOnce: 4,
  /** Bytes between two payloads that are fetched and thrown away to save a request. */
  gapBytes: 32 * 1024,
  requestBytes: 8 * 1024 * 1024,
} as const;
export type StreamLimits = { readonly [K in keyof typeof STREAM_LIMIT]: number };

/** Reads a range of a layer with the rights of the one who is being answered. */
export type ReadRange = (
  source: PayloadSource,
  range: BlobRange,
  signal: AbortSignal,
) => Promise<RegistryBlob | undefined>;

type Window = { readonly bytes: number; readonly pieces: readonly Piece[] };
type Fetched = () => AsyncIterable<Uint8Array>;

/**
 * The payloads from byte `start` of their run on, in the order of the plan. They are fetched window by window,
 * each window's by few requests in the order of the blobs, some windows ahead of what is being sent; nothing
 * is fetched that is not soon wanted, and a reader that stops reading stops the fetching. What was asked for
 * and is not what the plan says (a blob gone, short or changed) ends the stream with an error.
 *
 * @throws {StarlightError} and what `read` throws.
 */
export async function* streamPayloads(
  plan: PayloadPlan,
  start: number,
  read: ReadRange,
  signal: AbortSignal,
  limits: StreamLimits = STREAM_LIMIT,
): AsyncGenerator<Uint8Array, void, undefined> {
  const ended = new AbortController();
  const together = AbortSignal.any([signal, ended.signal]);
  const slots = new Semaphore(limits.requestsAtOnce);
  const queue: Promise<Fetched>[] = [];
  try {
    for (const window of windowsOf(piecesFrom(plan, start), limits)) {
      const fetched = fetchWindow(plan, window, read, slots, together, limits);
      fetched.catch(() => undefined); // told where it is awaited, in its turn
      queue.push(fetched);
      if (queue.length > limits.windowsAhead) yield* await takeFirst(queue);
    }
    while (queue.length > 0) yield* await takeFirst(queue);
  } finally {
    ended.abort();
  }
}

async function takeFirst(queue: Promise<Fetched>[]): Promise<AsyncIterable<Uint8Array>> {
  const first = await queue.shift();
  return first === undefined ? nothing() : first();
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

/** Groups pieces, in their order, into windows. */
export function* windowsOf(pieces: Iterable<Piece>, limits: StreamLimits): Generator<Window> {
  let limitBytes = Math.min(limits.firstWindowBytes, limits.windowBytes);
  let gathered: Piece[] = [];
  let bytes = 0;
  for (const piece of pieces) {
    if (gathered.length > 0 && bytes + piece.length > limitBytes) {
      yield { bytes, pieces: gathered };
      limitBytes = Math.min(limitBytes * 2, limits.windowBytes);
      gathered = [];
      bytes = 0;
    }
    gathered.push(piece);
    bytes += piece.length;
  }
  if (gathered.length > 0) yield { bytes, pieces: gathered };
}

async function fetchWindow(
  plan: PayloadPlan,
  window: Window,
  read: ReadRange,
  slots: Semaphore,
  signal: AbortSignal,
  limits: StreamLimits,
): Promise<Fetched> {
  const [only] = window.pieces;
  if (only !== undefined && window.pieces.length === 1 && window.bytes > limits.windowBytes) {
    return () => passOn(plan, only, read, signal);
  }
  const bytes = Buffer.allocUnsafe(window.bytes);
  const requests = coalesce(window.pieces, limits);
  await Promise.all(
    requests.map((request) => slots.run(() => fetchRequest(plan, request, read, bytes, signal), signal)),
  );
  let at = 0;
  for (const piece of window.pieces) {
    if (piece.entire) checkMember(plan, piece, bytes.subarray(at, at + piece.length));
    at += piece.length;
  }
  return async function* () {
    yield bytes;
  };
}

/** A payload too large to be held: as it comes, counted. */
async function* passOn(
  plan: PayloadPlan,
  piece: Piece,
  read: ReadRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let first = piece.entire;
  for await (const bytes of exactly(plan, piece.source, piece, read, signal)) {
    if (first) checkMember(plan, piece, bytes);
    first = false;
    yield bytes;
  }
}

/** One request's bytes, each put where it belongs in the window; what lies between the pieces is dropped. */
async function fetchRequest(
  plan: PayloadPlan,
  request: RangeRequest,
  read: ReadRange,
  target: Buffer,
  signal: AbortSignal,
): Promise<void> {
  let at = request.offset;
  let row = 0;
  for await (const bytes of exactly(plan, request.source, request, read, signal)) {
    const end = at + bytes.length;
    for (let part = request.parts[row]; part !== undefined; part = request.parts[row]) {
      const from = Math.max(part.offset, at);
      const to = Math.min(part.offset + part.length, end);
      if (from < to) target.set(bytes.subarray(from - at, to - at), part.target + from - part.offset);
      if (part.offset + part.length > end) break;
      row++;
    }
    at = end;
  }
}

/** Exactly the range, or an error. */
async function* exactly(
  plan: PayloadPlan,
  row: number,
  range: BlobRange,
  read: ReadRange,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const source = plan.sources[row];
  if (source === undefined) throw new RangeError(`the plan has no source ${row}`);
  const blob = await read(source, { offset: range.offset, length: range.length }, signal);
  if (blob === undefined) throw changed(source, 'is gone from the registry');
  let sizeBytes = 0;
  for await (const bytes of blob.bytes) {
    sizeBytes += bytes.length;
    if (sizeBytes > range.length) break;
    yield bytes;
  }
  signal.throwIfAborted();
  if (sizeBytes !== range.length) {
    throw changed(source, `gave ${sizeBytes} bytes instead of the ${range.length} asked for`);
  }
}

/** Cheap, and finds a blob that is not the one that was ingested; the worker checks every content anyway. */
function checkMember(plan: PayloadPlan, piece: Piece, bytes: Uint8Array): void {
  const source = plan.sources[piece.source];
  if (source === undefined || (bytes[0] === 0x1f && (bytes.length < 2 || bytes[1] === 0x8b))) return;
  throw changed(source, `has no gzip member at ${piece.offset}`);
}

function changed(source: PayloadSource, what: string): StarlightError {
  return new StarlightError({ kind: 'registry', reason: `layer ${source.name}@${source.digest} ${what}` });
}
