import { createHash } from 'node:crypto';
import { type PayloadPlan, payloadPlan } from '../../../extensions/starlight/payload-plan.ts';
import type { ReadRange } from '../../../extensions/starlight/payload-stream.ts';
import type { BlobRange } from '../../../extensions/starlight/registry-reader.ts';
import { type Digest, digestOf } from '../../../schemas/oci/digest.ts';

/** Numbers from 0 up to 1 that are the same in every run. */
export function seeded(seed: string): () => number {
  let count = 0;
  return () => createHash('sha256').update(`${seed} ${count++}`).digest().readUInt32LE() / 2 ** 32;
}

/** Layer blobs in memory, read as a registry's are, with a record of what was asked for. */
export class FakeBlobs {
  readonly blobs = new Map<Digest, Buffer>();
  readonly requests: (BlobRange & { readonly digest: Digest })[] = [];
  /** Requests that are open now, and the most that ever were. */
  open = 0;
  mostOpen = 0;
  /** Aborts seen by requests that were open. */
  aborted = 0;
  chunkBytes = 10_000;

  readonly read: ReadRange = async (source, range, signal) => {
    this.requests.push({ ...range, digest: source.digest });
    const blob = this.blobs.get(source.digest);
    if (blob === undefined) return undefined;
    const bytes = blob.subarray(range.offset, range.offset + range.length);
    return { sizeBytes: range.length, bytes: this.#chunks(bytes, signal) };
  };

  async *#chunks(bytes: Buffer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    this.open++;
    this.mostOpen = Math.max(this.mostOpen, this.open);
    try {
      for (let at = 0; at < bytes.length; at += this.chunkBytes) {
        await new Promise((resolve) => setImmediate(resolve));
        if (signal.aborted) {
          this.aborted++;
          throw signal.reason;
        }
        yield bytes.subarray(at, at + this.chunkBytes);
      }
    } finally {
      this.open--;
    }
  }
}

/**
 * Two layers of payloads that begin as gzip members do, with something between some of them; the plan sends
 * them in an order of its own.
 */
export function madePlan(
  seed: string,
  count: number,
  sizeBytes: (random: () => number) => number,
): { plan: PayloadPlan; blobs: FakeBlobs; expected: Buffer } {
  const random = seeded(seed);
  const blobs = new FakeBlobs();
  const rows: { source: number; offset: number; length: number; bytes: Buffer }[] = [];
  const sources = [0, 1].map((source) => {
    const parts: Buffer[] = [];
    let at = 0;
    for (let n = 0; n < count / 2; n++) {
      const gap = random() < 0.5 ? 0 : Math.floor(random() * 100_000);
      const length = Math.max(2, Math.floor(sizeBytes(random)));
      const bytes = Buffer.alloc(length, createHash('sha256').update(`${seed} ${source} ${n}`).digest());
      bytes.set([0x1f, 0x8b]);
      parts.push(Buffer.alloc(gap, 'gap'), bytes);
      rows.push({ source, offset: at + gap, length, bytes });
      at += gap + length;
    }
    const blob = Buffer.concat(parts);
    const digest = digestOf(blob);
    blobs.blobs.set(digest, blob);
    return { name: `team/layer${source}`, digest };
  });
  const order = rows.map((row) => ({ row, key: random() })).sort((a, b) => a.key - b.key);
  const sent = order.map(({ row }) => row);
  const plan = payloadPlan(
    sources,
    Uint32Array.from(sent, (row) => row.source),
    Float64Array.from(sent, (row) => row.offset),
    Float64Array.from(sent, (row) => row.length),
  );
  return { plan, blobs, expected: Buffer.concat(sent.map((row) => row.bytes)) };
}
