import { createHash } from 'node:crypto';
import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { type Digest, digestOf, isDigest } from '../../schemas/oci/digest.ts';
import { type PayloadPlan, type PayloadSource, payloadPlan, totalBytes } from './payload-plan.ts';

/** A bundle before its payloads are fetched: all of it is a function of the question and of the ranks. */
export interface BundlePlan {
  /** Which question it answers, ranks left aside: only who may ask that may be given it. */
  readonly question: string;
  /** Frame and header: the first bytes of the bundle. */
  readonly header: Uint8Array;
  readonly payloads: PayloadPlan;
  readonly unknownFrom: readonly string[];
}

/** The strong ETag of a bundle: its header names every byte that follows. */
export function etagOf(plan: BundlePlan): string {
  return `"${createHash('sha256').update(plan.header).digest('hex')}"`;
}

/** The length of the whole bundle. */
export function bundleBytes(plan: BundlePlan): number {
  return plan.header.length + totalBytes(plan.payloads);
}

/*
 * A plan as a value of the cache, little endian:
 *
 *   u32 version = 1 | u32 JSON length | u32 header length | u32 payload count | JSON | header |
 *   count × u32 source | count × f64 offset | count × f64 length
 */
const VERSION = 1;
const PREFIX_BYTES = 16;
const ROW_BYTES = 20;

const JsonSchema = Type.Object({
  question: Type.String(),
  sources: Type.Array(Type.Object({ name: Type.String(), digest: Type.String() })),
  unknownFrom: Type.Array(Type.String()),
});
type JsonPart = Static<typeof JsonSchema>;
const check = TypeCompiler.Compile(JsonSchema);

export function encodePlan(plan: BundlePlan): Uint8Array {
  const { question, header, payloads, unknownFrom } = plan;
  const part: JsonPart = { question, sources: [...payloads.sources], unknownFrom: [...unknownFrom] };
  const json = Buffer.from(JSON.stringify(part));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  [VERSION, json.length, header.length, payloads.length.length].forEach((value, row) => {
    prefix.writeUInt32LE(value, row * 4);
  });
  const columns = [payloads.source, payloads.offset, payloads.length].map((column) =>
    Buffer.from(column.buffer, column.byteOffset, column.byteLength),
  );
  return Buffer.concat([prefix, json, header, ...columns]);
}

/** @returns undefined for what encodePlan did not write. */
export function decodePlan(bytes: Uint8Array): BundlePlan | undefined {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (input.length < PREFIX_BYTES || input.readUInt32LE(0) !== VERSION) return undefined;
  const jsonEnd = PREFIX_BYTES + input.readUInt32LE(4);
  const headerEnd = jsonEnd + input.readUInt32LE(8);
  const count = input.readUInt32LE(12);
  if (headerEnd + count * ROW_BYTES !== input.length) return undefined;
  const part = parseJson(input.subarray(PREFIX_BYTES, jsonEnd));
  if (part === undefined) return undefined;
  const sources: PayloadSource[] = part.sources.map(({ name, digest }) => ({
    name,
    digest: digest as Digest, // checked by parseJson
  }));
  // Copied to their own buffers: columns want to be aligned.
  const column = (at: number, width: number) =>
    Uint8Array.from(input.subarray(at, at + count * width)).buffer;
  const source = new Uint32Array(column(headerEnd, 4));
  const offset = new Float64Array(column(headerEnd + count * 4, 8));
  const length = new Float64Array(column(headerEnd + count * 12, 8));
  const good = source.every((row) => row < sources.length) && offset.every(isSize) && length.every(isSize);
  if (!good) return undefined;
  return {
    question: part.question,
    header: input.subarray(jsonEnd, headerEnd),
    payloads: payloadPlan(sources, source, offset, length),
    unknownFrom: part.unknownFrom,
  };
}

function parseJson(bytes: Uint8Array): JsonPart | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return undefined;
  }
  return check.Check(value) && value.sources.every(({ digest }) => isDigest(digest)) ? value : undefined;
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** A short name for a question, fit as the key of a cache. */
export function keyOf(parts: unknown): string {
  return digestOf(JSON.stringify(parts)).slice('sha256:'.length);
}
